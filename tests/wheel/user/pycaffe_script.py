"""An unmodified pycaffe script."""

import sys

import caffe

net = caffe.Net(sys.argv[1], caffe.TEST)
print("forward:", {name: blob.shape for name, blob in net.forward().items()})
