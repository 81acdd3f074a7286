"""A user's ten lines; mypy --strict reads them too."""

import sys

from caffe_gp import CaffeGPError, GPResult, GuidedPerturbation, load_model

try:
    digits = load_model("digits")
    canvas = digits.preprocess.load(sys.argv[1])
    result: GPResult = GuidedPerturbation(digits.net)(canvas.data[None], eps=3.0)
    print(result.base_labels.shape, float(result.base_confidence.mean()))
except CaffeGPError as error:
    sys.exit(str(error))
