"""Guided perturbations: a trained Caffe net corrects itself at test time (ICCV 2017)."""

__version__ = "0.1.0"
