#!/bin/sh
# Installs the project with PyTorch and CUDA into the virtual environment CAFFE_GP_VENV, with the extras of every command
# that a container can run.
#
#   docker/install_torch.sh
#
# constraints.txt pins the version; PyPI's Linux wheel of it is the CUDA build and brings CUDA's libraries along. Another
# CUDA's is taken from PyTorch's own index of it in PIP_EXTRA_INDEX_URL (.../whl/cu126), whose 2.13.0+cu126 pip prefers.
set -eu
cd "$(dirname "$0")/.."

export PIP_NO_CACHE_DIR=1
make --no-print-directory venv EXTRAS=demo,cluster,explore,lmdb,export
"$CAFFE_GP_VENV/bin/python" - <<'PYTHON'
import sys

import torch

if torch.version.cuda is None:
    sys.exit(f"install_torch: error: PyTorch {torch.__version__} is a CPU build; where does pip look for wheels?")
print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, for {torch._C._cuda_getArchFlags()}")
PYTHON
