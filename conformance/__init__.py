"""Records what BVLC Caffe computes and compares the embedded Caffe with it: a tool, run from the checkout.

README.md says how. What records also runs in Debian 11 beside BVLC Caffe: Python 3.9, numpy 1.19, no torch.
"""

import os

# OpenBLAS reads this when it is loaded, with numpy or with BVLC Caffe; its threads would change the rounding.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
