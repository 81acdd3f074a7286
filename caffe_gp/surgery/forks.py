"""Layers that only Caffe's forks have, and what stock BVLC Caffe runs in their place."""

from __future__ import annotations

import json
from typing import Any

from caffe_gp.errors import NetError

FORK_TYPES = (
    "Interp",
    "MultiStageMeanfield",
    "DenseCRF",
    "BN",
    "Upsample",
    "Unpooling",
    "DepthwiseConvolution",
    "ImageSegData",
    "DenseImageData",
    "SegAccuracy",
    "MatWrite",
    "AutoCrop",
    "PriorBox",
    "DetectionOutput",
    "ROIPooling",
    "PSROIPooling",
    "Proposal",
    "PythonProposal",
    "Reorg",
    "YoloDetectionOutput",
    "Yolov3DetectionOutput",
)
# Fork type: the field with its parameters, and our layer in caffe_gp.python_layers.
_IN_PYTHON = {
    "Interp": ("interp_param", "InterpLayer"),
    "MultiStageMeanfield": ("multi_stage_meanfield_param", "MultiStageMeanfieldLayer"),
    "Permute": ("permute_param", "PermuteLayer"),
    "Normalize": ("norm_param", "NormalizeLayer"),
}


def replace(net: Any, changes: list[str]) -> None:
    """Make stock BVLC Caffe run a prepared net, in place; adds a sentence to ``changes`` for every layer.

    Names and parameter blobs stay, so the same weights load. NetError for a layer without a stand-in.
    """
    for layer in net.layer:
        if layer.type in _IN_PYTHON:
            field, name = _IN_PYTHON[layer.type]
            parameters = _fields(getattr(layer, field))
            if layer.type == "MultiStageMeanfield":
                parameters["learn"] = False  # guided perturbations train nothing
            changes.append(f"layer '{layer.name}': {layer.type} runs as our Python layer {name}")
            layer.ClearField(field)
            layer.type = "Python"
            layer.python_param.module, layer.python_param.layer = "caffe_gp.python_layers.builtin", name
            layer.python_param.param_str = json.dumps(parameters)
        elif layer.type == "DepthwiseConvolution":
            layer.type = "Convolution"
            changes.append(f"layer '{layer.name}': DepthwiseConvolution runs as Convolution, which it is")
        elif layer.type in FORK_TYPES:
            raise NetError(
                f"layer '{layer.name}': stock BVLC Caffe has no layer type '{layer.type}'; "
                "run this net with engine 'torch', or cut it below that layer with score="
            )


def _fields(message: Any) -> dict[str, Any]:
    """The fields that are set, for JSON."""
    return {part.name: _value(value) for part, value in message.ListFields()}


def _value(value: Any) -> Any:
    if hasattr(value, "ListFields"):
        return _fields(value)
    return value if isinstance(value, (bool, int, float, str)) else [_value(one) for one in value]
