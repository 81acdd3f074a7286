"""A prepared net as stock BVLC Caffe reads it: without what only forks have."""

from __future__ import annotations

from typing import Any

from caffe_gp.errors import NetError
from caffe_gp.proto import forks as known
from caffe_gp.proto import messages as pb
from caffe_gp.proto import own_fields
from caffe_gp.proto.batch_norm import BLOBS, SMALLEST_EPS, STATISTICS, has_scale_and_bias
from caffe_gp.surgery import forks
from caffe_gp.surgery.layers import free_name, names_of


def make_stock(net: Any, changes: list[str]) -> dict[str, str]:
    """Make stock BVLC Caffe run a prepared net, in place; adds a sentence to ``changes`` for what is done.

    Layers of forks get stand-ins (``forks.replace``). A BatchNorm with a scale and a bias of its own becomes
    BVLC's and a Scale: returned are the names of such Scales, and of the layers whose blobs in a file of
    weights they have. Fields that change nothing are removed. NetError for a layer without a stand-in, and
    for a field that changes what is computed.
    """
    forks.replace(net, changes)
    layers: list[Any] = []
    parts: dict[str, str] = {}
    taken = names_of(net.layer)
    for layer in net.layer:
        layers.append(layer)
        if layer.type == "BatchNorm" and has_scale_and_bias(layer.batch_norm_param):
            name = free_name(taken, f"{layer.name}_scale")
            layers.append(_split(layer, name, changes))
            taken.add(name)
            parts[name] = layer.name
        elif known.fork_of(layer.type) or own_fields.of(layer):  # of other types, Caffe says so itself
            raise NetError(
                f"layer '{layer.name}': stock BVLC Caffe has no layer type '{layer.type}'; "
                "run this net with engine 'torch', or cut it below that layer with score="
            )
    del net.layer[:]
    net.layer.extend(layers)
    for message in (net, *net.layer):
        _remove_fields(message, "" if message is net else f"layer '{message.name}': ", changes)
    return parts


def _split(layer: Any, name: str, changes: list[str]) -> Any:
    """Make BVLC's BatchNorm of NVIDIA's, in place; the Scale of this name that comes behind it."""
    param = layer.batch_norm_param
    param.eps = max(param.eps, SMALLEST_EPS)
    for field in ("scale_bias", "scale_filler", "bias_filler", "use_global_stats"):
        param.ClearField(field)
    del layer.param[STATISTICS:]
    scale = pb.LayerParameter(name=name, type="Scale", bottom=layer.top, top=layer.top)
    scale.scale_param.bias_term = True
    for _ in range(BLOBS - STATISTICS):
        scale.param.add(lr_mult=0)
    changes.append(
        f"layer '{layer.name}': BatchNorm with a scale and a bias of its own runs as BatchNorm and the Scale "
        f"'{name}', which takes the last two of its blobs"
    )
    return scale


def _remove_fields(message: Any, where: str, changes: list[str]) -> None:
    """Remove the forks' fields that change nothing; NetError for one that does."""
    changed = known.unheeded(message, but=("transform_param",))
    if changed:
        raise NetError(
            f"{where}stock BVLC Caffe has no field {changed[0]}, which changes what is computed; it is "
            f"{known.whose(changed[0])}. Remove it if the net does not depend on it"
        )
    removed = known.remove_ignored(message)
    if removed:
        changes.append(f"{where}removed {', '.join(removed)}, which stock BVLC Caffe does not have")
