"""pycaffe's inner module ``caffe.pycaffe``: the net, the solvers and what it adds to the net."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from itertools import zip_longest as izip_longest
from typing import Any

import numpy as np

from caffe_gp.caffe import NCCL
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.net import Net
from caffe_gp.caffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
)
from caffe_gp.caffe.timer import Timer

__all__ = [
    "NCCL",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "Layer",
    "NesterovSolver",
    "Net",
    "OrderedDict",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
    "izip_longest",
    "np",
]

# pycaffe writes these as functions and hangs them into the C++ class; some scripts wrap them.
_Net_blobs, _Net_params, _Net_layer_dict = Net.blobs, Net.params, Net.layer_dict
_Net_blob_loss_weights, _Net_inputs, _Net_outputs = Net.blob_loss_weights, Net.inputs, Net.outputs
_Net_forward, _Net_backward, _Net_batch = Net.forward, Net.backward, Net._batch
_Net_forward_all, _Net_forward_backward_all = Net.forward_all, Net.forward_backward_all
_Net_set_input_arrays = Net.set_input_arrays


def __getattr__(name: str) -> Any:
    if name != "six":  # pycaffe uses that package, we do not
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("six")
