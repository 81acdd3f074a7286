"""pycaffe's ``caffe.proto``: holds ``caffe_pb2``."""

from caffe_gp.caffe.proto import caffe_pb2

__all__ = ["caffe_pb2"]
