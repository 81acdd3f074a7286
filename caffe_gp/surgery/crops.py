"""Offsets of old Crop layers: computed from how the blobs line up with a blob that both come from.

Early forks had a Crop layer without ``crop_param`` that aligned its bottoms by itself. BVLC Caffe takes a
missing offset for 0, which is wrong by up to 31 pixels on their files. The rule: every layer maps positions
of its bottom to positions of its top, x_top = a * x_bottom + b along each spatial axis,

    Convolution, Pooling, Im2col   a = 1/stride      b = (pad - (extent - 1)/2) / stride
    Deconvolution                  a = stride        b = (extent - 1)/2 - pad
    Crop                           a = 1             b = -offset
    one value a position           a = 1             b = 0

with extent = dilation * (kernel - 1) + 1. Two blobs with the same scale against a common ancestor are
aligned by the difference of their b. FCN-32s gives 19, FCN-16s 5 and 27, FCN-8s 5, 9 and 31.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Dict, NamedTuple, Sequence, Tuple

POSITION_WISE = frozenset(
    "AbsVal BN BNLL BatchNorm Bias Clip Concat Dropout ELU Eltwise Exp LRN Log MVN PReLU Power ReLU Scale "
    "Sigmoid Softmax Split Swish TanH Threshold".split()
)

Version = Tuple[str, int]  # a blob's name and the index of the layer that last wrote it


class Axis(NamedTuple):
    """x_here = scale * x_ancestor + shift along one axis."""

    scale: Fraction
    shift: Fraction


Maps = Dict[Version, Tuple[Axis, Axis]]  # for rows and columns, from each ancestor of a blob
_IDENTITY = (Axis(Fraction(1), Fraction(0)),) * 2


def align_legacy_crops(net: Any, changes: list[str]) -> None:
    """Give every Crop layer without ``crop_param`` the offset its fork would have computed, in place.

    Where no whole, non-negative offset follows, the layer is left to BVLC Caffe's rule (offset 0). Adds a
    sentence to ``changes`` for either.
    """
    if not any(_is_legacy(layer) for layer in net.layer):
        return
    versions: dict[str, Version] = {}
    maps: dict[Version, Maps] = {}
    for i, layer in enumerate(net.layer):
        bottoms = [versions.get(name, (name, -1)) for name in layer.bottom]
        for version in bottoms:
            maps.setdefault(version, {version: _IDENTITY})
        if _is_legacy(layer):
            _align(layer, maps[bottoms[0]], maps[bottoms[1]], changes)
        step = _layer_axes(layer)
        above: Maps = {}
        if step is not None:
            # A Crop's second bottom only lends its size.
            for version in bottoms[:1] if layer.type == "Crop" else bottoms:
                for ancestor, axes in maps[version].items():
                    above.setdefault(ancestor, (_chain(axes[0], step[0]), _chain(axes[1], step[1])))
        for name in layer.top:
            versions[name] = (name, i)
            maps[name, i] = {**above, (name, i): _IDENTITY}


def _is_legacy(layer: Any) -> bool:
    return layer.type == "Crop" and len(layer.bottom) == 2 and not layer.HasField("crop_param")


def _align(layer: Any, cropped: Maps, reference: Maps, changes: list[str]) -> None:
    offsets = _offsets(cropped, reference)
    if offsets is None:
        changes.append(
            f"layer '{layer.name}': Crop without crop_param whose bottoms do not line up by whole pixels; "
            "left at offset 0, as BVLC Caffe reads it"
        )
        return
    layer.crop_param.axis = 2
    layer.crop_param.offset.extend(offsets if offsets[0] != offsets[1] else offsets[:1])
    written = ", ".join(map(str, layer.crop_param.offset))
    changes.append(
        f"layer '{layer.name}' (makes '{layer.top[0]}'): Crop without crop_param gets offset {written}, "
        "as its fork computed it"
    )


def _offsets(cropped: Maps, reference: Maps) -> list[int] | None:
    common = [ancestor for ancestor in cropped if ancestor in reference]
    for ancestor in sorted(common, key=lambda version: version[1], reverse=True):
        offsets = []
        for here, there in zip(cropped[ancestor], reference[ancestor]):
            offset = here.shift - there.shift
            if here.scale != there.scale or offset.denominator != 1 or offset < 0:
                return None
            offsets.append(int(offset))
        return offsets
    return None


def _chain(first: Axis, then: Axis) -> Axis:
    return Axis(first.scale * then.scale, then.scale * first.shift + then.shift)


def _layer_axes(layer: Any) -> tuple[Axis, Axis] | None:
    """The position maps of a layer for rows and columns; None where positions are not kept."""
    if layer.type in POSITION_WISE:
        return _IDENTITY
    if layer.type == "Crop":
        offset = list(layer.crop_param.offset) or [0]
        axis = layer.crop_param.axis % 4
        per_axis = [
            (offset * 4)[:1] if len(offset) == 1 else offset[k - axis : k - axis + 1] if k >= axis else [0]
            for k in (2, 3)
        ]
        if not all(per_axis):
            return None
        return tuple(Axis(Fraction(1), Fraction(-values[0])) for values in per_axis)  # type: ignore[return-value]
    if layer.type in ("Convolution", "DepthwiseConvolution", "Im2col"):
        return tuple(_down(*window) for window in _conv_windows(layer.convolution_param))  # type: ignore[return-value]
    if layer.type == "Deconvolution":
        return tuple(_up(*window) for window in _conv_windows(layer.convolution_param))  # type: ignore[return-value]
    if layer.type == "Pooling" and not layer.pooling_param.global_pooling:
        return tuple(_down(*window) for window in _pool_windows(layer.pooling_param))  # type: ignore[return-value]
    return None


def _down(extent: int, stride: int, pad: int) -> Axis:
    return Axis(Fraction(1, stride), (pad - Fraction(extent - 1, 2)) / stride)


def _up(extent: int, stride: int, pad: int) -> Axis:
    return Axis(Fraction(stride), Fraction(extent - 1, 2) - pad)


def _conv_windows(param: Any) -> list[tuple[int, int, int]]:
    """(extent, stride, pad) for rows and columns."""
    windows = []
    for k, side in enumerate("hw"):
        kernel = _side(param, f"kernel_{side}", param.kernel_size, k, 1)
        stride = _side(param, f"stride_{side}", param.stride, k, 1)
        pad = _side(param, f"pad_{side}", param.pad, k, 0)
        dilation = _pick(param.dilation, k, 1)
        windows.append((dilation * (kernel - 1) + 1, stride, pad))
    return windows


def _pool_windows(param: Any) -> list[tuple[int, int, int]]:
    return [
        (
            getattr(param, f"kernel_{side}") if param.HasField(f"kernel_{side}") else param.kernel_size,
            getattr(param, f"stride_{side}") if param.HasField(f"stride_{side}") else param.stride,
            getattr(param, f"pad_{side}") if param.HasField(f"pad_{side}") else param.pad,
        )
        for side in "hw"
    ]


def _side(param: Any, name: str, values: Sequence[int], k: int, default: int) -> int:
    return getattr(param, name) if param.HasField(name) else _pick(values, k, default)


def _pick(values: Sequence[int], k: int, default: int) -> int:
    """Entry ``k`` of a repeated field that may hold one value for all axes or none."""
    if not len(values):
        return default
    return values[min(k, len(values) - 1)]
