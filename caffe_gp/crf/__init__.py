"""Fully connected conditional random fields: the permutohedral lattice, mean-field inference, dense CRF."""

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
