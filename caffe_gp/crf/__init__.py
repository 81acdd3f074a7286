"""Fully connected conditional random fields: the permutohedral lattice, mean-field inference, dense CRF."""

import os
import sys

# numba knows only its own variable, which must not change once it runs; and when it starts it gives OpenMP,
# so PyTorch too, its own number of threads.
if "numba" not in sys.modules and os.environ.get("OMP_NUM_THREADS", "").isdigit():
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

# ruff: noqa: E402
from caffe_gp.crf.dense_crf import PRESETS, CRFSettings, DenseCRF
from caffe_gp.crf.kernels import Kernel, bilateral_features, spatial_features
from caffe_gp.crf.lattice import Permutohedral
from caffe_gp.crf.meanfield import MeanField, MeanFieldParameters
from caffe_gp.crf.rows import NumpyRows

__all__ = [
    "PRESETS",
    "CRFSettings",
    "DenseCRF",
    "Kernel",
    "MeanField",
    "MeanFieldParameters",
    "NumpyRows",
    "Permutohedral",
    "bilateral_features",
    "spatial_features",
]
