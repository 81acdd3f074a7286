"""pycaffe's ``caffe.proto``: holds ``caffe_pb2``."""
