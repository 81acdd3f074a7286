"""Where the values of one blob lie in another.

Every layer maps positions of its bottom to positions of its top, x_top = a * x_bottom + b along each spatial
axis,

    Convolution, Pooling, Im2col   a = 1/stride      b = (pad - (extent - 1)/2) / stride
    Deconvolution                  a = stride        b = (extent - 1)/2 - pad
    Crop                           a = 1             b = -offset
    CropCenter                     a = 1             b = -crop_size
    Interp                         a = zoom          b = zoom * pad_beg
    Upsample with one bottom       a = scale         b = (scale - 1)/2
    Unpooling without a mask       a = stride        b = 0 (MAX), (kernel - 1)/2 (AVE, TILE)
    one value a position           a = 1             b = 0

with extent = dilation * (kernel - 1) + 1. What goes by a pooling's mask lies as that pooling's bottom does.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple, Sequence

from caffe_gp.errors import NetError
from caffe_gp.images.unpooling import MAX, Unpooling, Upsample
from caffe_gp.proto.set_fields import set_fields
from caffe_gp.surgery.layers import DEPTHWISE

POSITION_WISE = frozenset(
    "AbsVal BN BNLL BatchNorm Bias Clip Concat Dropout ELU Eltwise Exp LRN Log MVN Mish PReLU Power ReLU "
    "ReLU6 Scale ShuffleChannel Sigmoid Softmax Split Swish TanH Threshold".split()
)


_KEEP_POSITIONS = ("Axpy", "MultiStageMeanfield", "Normalize")
UNPOOLINGS = ("Upsample", "Unpooling", "UnPooling")


class Axis(NamedTuple):
    """x_here = scale * x_ancestor + shift along one axis."""

    scale: Fraction
    shift: Fraction


IDENTITY = (Axis(Fraction(1), Fraction(0)),) * 2


# Of a map's numbers. Nets of images stay far below; without a limit a deep one's would grow layer by layer.
_MOST = 1 << 64


def chain(first: Axis, then: Axis) -> Axis | None:
    """One map after the other; None where its numbers are no image's."""
    if then is IDENTITY[0]:
        return first
    both = Axis(first.scale * then.scale, then.scale * first.shift + then.shift)
    if max(abs(number) for value in both for number in (value.numerator, value.denominator)) > _MOST:
        return None
    return both


def position_map(net: Any, data: str, score: str) -> tuple[Axis, Axis] | None:
    """Where positions of the input lie in the scores, for rows and columns; None where that does not follow.

    Of several bottoms the first counts, as for ``crops``.
    """
    maps: dict[str, tuple[Axis, Axis]] = {}
    pooled: dict[str, tuple[Axis, Axis]] = {}  # by mask, where the blob lies that was pooled
    for layer in net.layer:
        known = [maps[bottom] for bottom in placed_bottoms(layer) if bottom in maps]
        step = layer_axes(layer)
        if is_masked(layer):
            known, step = [pooled[mask] for mask in layer.bottom[1:] if mask in pooled], IDENTITY
        elif layer.type == "Pooling" and known:
            pooled.update((mask, known[0]) for mask in layer.top[1:])
        for top in layer.top:
            maps.pop(top, None)
            if not layer.bottom and top == data:
                maps[top] = IDENTITY
            elif known and step is not None:
                rows, columns = chain(known[0][0], step[0]), chain(known[0][1], step[1])
                if rows is not None and columns is not None:
                    maps[top] = rows, columns
    return maps.get(score)


def placed_bottoms(layer: Any) -> Sequence[str]:
    """The bottoms that a layer's tops lie over; others lend a size or factors."""
    if layer.type == "Crop":
        return layer.bottom[:1]
    return layer.bottom[1:] if layer.type == "Axpy" else layer.bottom


def is_masked(layer: Any) -> bool:
    """Whether the layer puts values where the mask of a pooling, its second bottom, says."""
    return layer.type in UNPOOLINGS and len(layer.bottom) == 2


def layer_axes(layer: Any) -> tuple[Axis, Axis] | None:
    """The position maps of a layer for rows and columns; None where positions are not kept."""
    if layer.type in POSITION_WISE or layer.type in _KEEP_POSITIONS:
        return IDENTITY
    if layer.type == "Interp" and layer.interp_param.HasField("zoom_factor"):
        param = layer.interp_param
        if not param.HasField("shrink_factor"):
            return (Axis(Fraction(param.zoom_factor), Fraction(param.zoom_factor * param.pad_beg)),) * 2
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
    if layer.type == "CropCenter":
        cut = layer.crop_center_param.crop_size
        return tuple(Axis(Fraction(1), Fraction(-n)) for n in cut[2:]) if len(cut) == 4 else None  # type: ignore
    if layer.type in UNPOOLINGS and not is_masked(layer):
        return _enlarged(layer)
    if layer.type in ("Convolution", *DEPTHWISE, "Im2col"):
        return tuple(_down(*window) for window in conv_windows(layer))  # type: ignore[return-value]
    if layer.type == "Deconvolution":
        return tuple(_up(*window) for window in conv_windows(layer))  # type: ignore[return-value]
    if layer.type == "Pooling" and not layer.pooling_param.global_pooling:
        return tuple(_down(*window) for window in pool_windows(layer))  # type: ignore[return-value]
    return None


def _enlarged(layer: Any) -> tuple[Axis, Axis] | None:
    try:
        if layer.type == "Upsample":
            factors = Upsample(False, **set_fields(layer.upsample_param)).factors
            return _up(factors[0], factors[0], 0), _up(factors[1], factors[1], 0)
        rule = Unpooling(False, **set_fields(layer.unpooling_param))
    except ValueError:  # the layer will say it
        return None
    extents = (1, 1) if rule.unpool == MAX else rule.kernel
    return _up(extents[0], rule.strides[0], 0), _up(extents[1], rule.strides[1], 0)


def _down(extent: int, stride: int, pad: int) -> Axis:
    return Axis(Fraction(1, stride), (pad - Fraction(extent - 1, 2)) / stride)


def _up(extent: int, stride: int, pad: int) -> Axis:
    return Axis(Fraction(stride), Fraction(extent - 1, 2) - pad)


def conv_windows(layer: Any) -> list[tuple[int, int, int]]:
    """(extent, stride, pad) of a convolution for rows and columns. NetError for a stride of 0."""
    param, windows = layer.convolution_param, []
    for k, side in enumerate("hw"):
        kernel = _side(param, f"kernel_{side}", param.kernel_size, k, 1)
        stride = _side(param, f"stride_{side}", param.stride, k, 1)
        pad = _side(param, f"pad_{side}", param.pad, k, 0)
        dilation = _pick(param.dilation, k, 1)
        windows.append((dilation * (kernel - 1) + 1, _checked_stride(layer, stride), pad))
    return windows


def pool_windows(layer: Any) -> list[tuple[int, int, int]]:
    """(extent, stride, pad) of a pooling for rows and columns. NetError for a stride of 0."""
    param, windows = layer.pooling_param, []
    for side in "hw":
        kernel, stride, pad = (
            getattr(param, f"{short}_{side}") if param.HasField(f"{short}_{side}") else getattr(param, field)
            for short, field in (("kernel", "kernel_size"), ("stride", "stride"), ("pad", "pad"))
        )
        windows.append((kernel, _checked_stride(layer, stride), pad))
    return windows


def _checked_stride(layer: Any, stride: int) -> int:
    if stride < 1:
        raise NetError(f"layer '{layer.name}' ({layer.type}): the stride must be at least 1, found {stride}")
    return stride


def _side(param: Any, name: str, values: Sequence[int], k: int, default: int) -> int:
    return getattr(param, name) if param.HasField(name) else _pick(values, k, default)


def _pick(values: Sequence[int], k: int, default: int) -> int:
    """Entry ``k`` of a repeated field that may hold one value for all axes or none."""
    if not len(values):
        return default
    return values[min(k, len(values) - 1)]
