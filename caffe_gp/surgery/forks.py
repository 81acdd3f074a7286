"""Layers that only Caffe's forks have, and what stock BVLC Caffe runs in their place."""

from __future__ import annotations

import json
from typing import Any, Sequence

from caffe_gp.errors import NetError
from caffe_gp.proto import forks
from caffe_gp.proto import messages as pb
from caffe_gp.proto.batch_norm import BLOBS, SMALLEST_EPS, STATISTICS, has_scale_and_bias
from caffe_gp.surgery.layers import free_name

# Fork type: the field with its parameters, and our layer in caffe_gp.python_layers.
_IN_PYTHON = {
    "Interp": ("interp_param", "InterpLayer"),
    "MultiStageMeanfield": ("multi_stage_meanfield_param", "MultiStageMeanfieldLayer"),
}


def replace(net: Any, changes: list[str]) -> dict[str, str]:
    """Make stock BVLC Caffe run a prepared net, in place; adds a sentence to ``changes`` for every layer.

    Names and parameter blobs stay, so the same weights load; but of a BatchNorm with a scale and a bias of
    its own, these become a Scale's. Returned: the names of such Scales, and of the layers whose blobs in a
    file they have. NetError for a layer without a stand-in, and for a field of a fork that changes what is
    computed.
    """
    parts: dict[str, str] = {}
    layers: list[Any] = []
    for layer in net.layer:
        layers.append(layer)
        if layer.type in _IN_PYTHON:
            field, name = _IN_PYTHON[layer.type]
            parameters = {part.name: value for part, value in getattr(layer, field).ListFields()}
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
        elif layer.type == "BatchNorm" and has_scale_and_bias(layer.batch_norm_param):
            layers.append(_split(layer, [*layers, *net.layer], changes))
            parts[layers[-1].name] = layer.name
        elif layer.type not in forks.BVLC_TYPES:
            raise NetError(
                f"layer '{layer.name}': stock BVLC Caffe has no layer type '{layer.type}'; "
                "run this net with engine 'torch', or cut it below that layer with score="
            )
    del net.layer[:]
    net.layer.extend(layers)
    _without_foreign_fields(net, changes)
    return parts


def _split(layer: Any, layers: Sequence[Any], changes: list[str]) -> Any:
    """Make BVLC's BatchNorm of NVIDIA's, in place; the Scale that comes behind it."""
    param = layer.batch_norm_param
    param.eps = max(param.eps, SMALLEST_EPS)
    for name in ("scale_bias", "scale_filler", "bias_filler", "use_global_stats"):
        param.ClearField(name)
    del layer.param[STATISTICS:]
    name = free_name(layers, f"{layer.name}_scale")
    scale = pb.LayerParameter(name=name, type="Scale", bottom=layer.top, top=layer.top)
    scale.scale_param.bias_term = True
    for _ in range(BLOBS - STATISTICS):
        scale.param.add(lr_mult=0)
    changes.append(
        f"layer '{layer.name}': BatchNorm with a scale and a bias of its own runs as BatchNorm and the Scale "
        f"'{name}', which takes the last two of its blobs"
    )
    return scale


def _without_foreign_fields(net: Any, changes: list[str]) -> None:
    """Remove the forks' fields that change nothing: stock Caffe would not read the file."""
    for message in (net, *net.layer):
        where = "" if message is net else f"layer '{message.name}': "
        changed = forks.unheeded(message, but=("transform_param",))
        if changed:
            raise NetError(
                f"{where}stock BVLC Caffe has no field {changed[0]}, which changes what is computed; it is "
                f"{forks.whose(changed[0])}. Remove it if the net does not depend on it"
            )
        removed = forks.remove_ignored(message)
        if removed:
            changes.append(f"{where}removed {', '.join(removed)}, which stock BVLC Caffe does not have")
