"""Which kind of BN a layer is: SegNet's and PSPNet's have one name and one field, and other parameters."""

from __future__ import annotations

from typing import Any

SEGNETS = ("scale_filler", "shift_filler", "bn_mode")
PSPNETS = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine")
_UNKNOWN = ("scale", "shift")


def keeps_statistics(layer: Any) -> bool:
    """Whether a LayerParameter of type BN is of PSPNet's kind, with a moving mean and variance: four blobs.

    SegNet's, ENet's and DeconvNet's has two. PSPNet's is told by its fields, or by more than two ``param``.
    ValueError for fields of both kinds, or of none that is known.
    """
    param = layer.bn_param
    segnets, pspnets, unknown = (
        [field for field in fields if param.HasField(field)] for fields in (SEGNETS, PSPNETS, _UNKNOWN)
    )
    if unknown:
        raise ValueError(f"bn_param.{unknown[0]} belongs to a kind of BN that is not known here")
    if segnets and pspnets:
        raise ValueError(f"bn_param has {segnets[0]}, of SegNet's kind of BN, and {pspnets[0]}, of PSPNet's")
    return bool(pspnets) or len(layer.param) > 2
