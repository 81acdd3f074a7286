"""A net made ready to adapt its batch normalisation to the test image: which layers, and what they need.

Caffe's BatchNorm takes the statistics of training at TEST; with ``use_global_stats: false`` it takes those of
the images at hand, on either engine. The Scale behind it learns where its ``lr_mult`` is not 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from caffe_gp.errors import UsageError
from caffe_gp.proto.batch_norm import has_scale_and_bias
from caffe_gp.surgery.layers import listed

BN, TENT = "bn", "tent"
ADAPTATIONS = (BN, TENT)


class Normalised(NamedTuple):
    """Names of a net's BatchNorm layers, and of the Scale layers behind them."""

    batch_norms: tuple[str, ...]
    scales: tuple[str, ...]


def normalised(net: Any) -> Normalised:
    """Those of a NetParameter. UsageError where there are none, and for normalisation of another kind."""
    others = [layer.name for layer in net.layer if layer.type == "BN"]
    found = [layer for layer in net.layer if layer.type == "BatchNorm"]
    others += [layer.name for layer in found if has_scale_and_bias(layer.batch_norm_param)]
    if others:
        raise UsageError(
            "adapt works on BVLC Caffe's BatchNorm, with a Scale behind it, and not on the layers of forks, "
            f"which have a scale of their own: {listed(others)}"
        )
    if not found:
        raise UsageError(
            "adapt needs a net with BatchNorm layers, and this one has none: it was trained without, or they "
            "were folded into its convolutions"
        )
    scales: list[str] = []
    readers: dict[str, Any] = {}  # by blob, the next layer that reads it
    for layer in reversed(net.layer):
        reader = readers.get(layer.top[0]) if layer.type == "BatchNorm" else None
        if reader is not None and reader.type == "Scale" and len(reader.bottom) == 1:
            scales.append(reader.name)
        readers.update((bottom, layer) for bottom in layer.bottom)
    return Normalised(tuple(layer.name for layer in found), tuple(reversed(scales)))


def use_image_statistics(net: Any, adapt: str, changes: list[str]) -> Normalised:
    """Edit a prepared NetParameter for ``adapt``, one of ADAPTATIONS; adds a sentence to ``changes``.

    Raises what ``normalised`` does, and UsageError for 'tent' without a Scale.
    """
    if adapt not in ADAPTATIONS:
        raise UsageError(f"adapt is one of {', '.join(ADAPTATIONS)}, found {adapt!r}")
    names = normalised(net)
    if adapt == TENT and not names.scales:
        raise UsageError("adapt 'tent' learns the Scale layers behind BatchNorm, and this net has none")
    for layer in net.layer:
        if layer.name in names.batch_norms:
            layer.batch_norm_param.use_global_stats = False
        if adapt == TENT and layer.name in names.scales:
            for spec in layer.param:
                spec.lr_mult = 1
    learning = f", and learn their {len(names.scales)} Scale layers (TENT)" if adapt == TENT else ""
    changes.append(
        f"{len(names.batch_norms)} BatchNorm layers take the statistics of the image at hand{learning}"
    )
    return names
