"""Writes a scene of digits as a photograph of a user."""

import sys

from PIL import Image

from caffe_gp.datasets.digit_scenes import DigitScenes

image, _ = DigitScenes("test").scene(0)
Image.fromarray(image[:, :, ::-1]).save(sys.argv[1])
