"""The method: guided perturbations of images and of inner blobs, through pycaffe calls only."""

from __future__ import annotations

from caffe_gp.gp.classify import NeighbourPerturbation
from caffe_gp.gp.encodings import (
    ENCODINGS,
    INJECTIONS,
    error_signal,
    label_distribution,
    softmax_output_signal,
)
from caffe_gp.gp.neighbours import Neighbours, majority
from caffe_gp.gp.perturb import GuidedPerturbation
from caffe_gp.gp.result import GPResult
from caffe_gp.gp.steps import STEPS

__all__ = [
    "ENCODINGS",
    "INJECTIONS",
    "STEPS",
    "GPResult",
    "GuidedPerturbation",
    "NeighbourPerturbation",
    "Neighbours",
    "error_signal",
    "label_distribution",
    "majority",
    "softmax_output_signal",
]
