"""Prints where a file lies that ships with the package."""

import sys

from caffe_gp.files import places

print(places.shipped(*sys.argv[1:]))
