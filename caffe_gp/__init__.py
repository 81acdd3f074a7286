"""Guided perturbations: a trained Caffe net corrects itself at test time (ICCV 2017).

    from caffe_gp import GuidedPerturbation, load_net
"""
from __future__ import annotations

from caffe_gp.engines import load_net
from caffe_gp.errors import CaffeGPError
from caffe_gp.gp import GuidedPerturbation

__version__ = "0.1.0"

__all__ = ["CaffeGPError", "GuidedPerturbation", "load_net", "__version__"]
