"""Which kind of BN a layer is: SegNet's and PSPNet's have one name and one field, and other parameters."""

from __future__ import annotations

from typing import Any

from . import messages as pb

# 'scale' and 'shift' are an ENet port's: numbers in place of constant fillers.
SEGNETS = ("scale_filler", "shift_filler", "scale", "shift", "bn_mode")
PSPNETS = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine")


def keeps_statistics(layer: Any) -> bool:
    """Whether a LayerParameter of type BN is of PSPNet's kind, with a moving mean and variance: four blobs.

    SegNet's, ENet's and DeconvNet's have two. PSPNet's is told by its fields, or by more than two ``param``.
    ValueError for fields of both kinds, and for a filler beside the number that takes its place.
    """
    param = layer.bn_param
    segnets, pspnets = ([field for field in fields if param.HasField(field)] for fields in (SEGNETS, PSPNETS))
    for name in ("scale", "shift"):
        if name in segnets and f"{name}_filler" in segnets:
            raise ValueError(f"bn_param has both {name} and {name}_filler, which says the same; keep one")
    if segnets and pspnets:
        raise ValueError(f"bn_param has {segnets[0]}, of SegNet's kind of BN, and {pspnets[0]}, of PSPNet's")
    return bool(pspnets) or len(layer.param) > 2


def initial_fillers(layer: Any) -> list[Any]:
    """FillerParameters of scale and shift, or slope and bias; constant 0 where there is none, as there."""
    param = layer.bn_param
    if keeps_statistics(layer):
        return [param.slope_filler, param.bias_filler]
    return [
        pb.FillerParameter(value=getattr(param, name)) if param.HasField(name) else filler
        for name, filler in (("scale", param.scale_filler), ("shift", param.shift_filler))
    ]
