"""Layers that only Caffe's forks have, and what stock BVLC Caffe runs in their place."""

from __future__ import annotations

import json
from typing import Any

from caffe_gp.errors import NetError
from caffe_gp.proto.bn import initial_fillers
from caffe_gp.surgery.layers import DEPTHWISE, bn_keeps_statistics
from caffe_gp.surgery.shapes import Shape, blob_shapes

# Fork type: the field with its parameters, and our layer in caffe_gp.python_layers.
_IN_PYTHON = {
    "Interp": ("interp_param", "InterpLayer"),
    "MultiStageMeanfield": ("multi_stage_meanfield_param", "MultiStageMeanfieldLayer"),
    "Axpy": ("", "AxpyLayer"),
    "BN": ("bn_param", "BNLayer"),
    "CropCenter": ("crop_center_param", "CropCenterLayer"),
    "Mish": ("mish_param", "MishLayer"),
    "ReLU6": ("relu6_param", "ReLU6Layer"),
    "ShuffleChannel": ("shuffle_channel_param", "ShuffleChannelLayer"),
    "Unpooling": ("unpooling_param", "UnpoolingLayer"),
    "UnPooling": ("unpooling_param", "UnpoolingLayer"),
    "Upsample": ("upsample_param", "UpsampleLayer"),
    "Permute": ("permute_param", "PermuteLayer"),
    "Normalize": ("norm_param", "NormalizeLayer"),
}


#: Types that something takes the place of.
REPLACED = frozenset([*_IN_PYTHON, *DEPTHWISE])


def replace(net: Any, changes: list[str]) -> None:
    """Make stock BVLC Caffe run a prepared net, in place; adds a sentence to ``changes`` for every layer.

    Names and parameter blobs stay, so the same weights load. NetError for what a stand-in cannot do.
    """
    shapes = blob_shapes(net)
    for layer in net.layer:
        if layer.type in _IN_PYTHON:
            _put_in_python(layer, changes)
        elif layer.type in DEPTHWISE:
            _make_convolution(layer, shapes.get(layer.bottom[0], ()) if layer.bottom else (), changes)
        elif layer.type == "Dropout" and layer.dropout_param.sample_weights_test:
            raise NetError(
                f"layer '{layer.name}' (Dropout): stock BVLC Caffe knows no sample_weights_test: true, "
                "dropout at TEST; run this net with engine 'torch'"
            )
        if layer.HasField("dropout_param"):
            layer.dropout_param.ClearField("sample_weights_test")


def _put_in_python(layer: Any, changes: list[str]) -> None:
    field, name = _IN_PYTHON[layer.type]
    parameters = _plain(getattr(layer, field)) if field else {}
    if layer.type in ("MultiStageMeanfield", "BN"):
        parameters["learn"] = False  # guided perturbations train nothing
    if layer.type == "BN":
        parameters["keeps_statistics"] = bn_keeps_statistics(layer)
        parameters["fillers"] = [_plain(filler) for filler in initial_fillers(layer)]
    changes.append(f"layer '{layer.name}': {layer.type} runs as our Python layer {name}")
    if field:
        layer.ClearField(field)
    layer.type = "Python"
    layer.python_param.module, layer.python_param.layer = "caffe_gp.python_layers.builtin", name
    layer.python_param.param_str = json.dumps(parameters)


def _plain(message: Any) -> dict[str, Any]:
    """The set fields of a message; messages in it likewise."""
    return {field.name: _plain_value(field, value) for field, value in message.ListFields()}


def _plain_value(field: Any, value: Any) -> Any:
    if hasattr(value, "append"):
        return list(value)
    return _plain(value) if field.message_type is not None else value


def _make_convolution(layer: Any, bottom: Shape, changes: list[str]) -> None:
    """A Convolution with as many groups as its bottom has channels."""
    channels = bottom[1] if len(bottom) > 1 else None
    if not layer.convolution_param.HasField("group"):
        if channels is None:
            raise NetError(
                f"layer '{layer.name}' ({layer.type}): how many channels it reads does not follow from the "
                "description, and stock BVLC Caffe's Convolution must be told: give group, that number"
            )
        layer.convolution_param.group = channels
    changes.append(f"layer '{layer.name}': {layer.type} runs as Convolution, which it is")
    layer.type = "Convolution"
