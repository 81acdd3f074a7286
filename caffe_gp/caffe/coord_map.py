"""How the coordinates of one blob of a NetSpec lie in another's, and the Crop that aligns the two.

A map is (axis, scale, shift): the coordinate x of the input lies at ``scale * x + shift`` in the output, on
``axis`` and the axes after it. Convolution, pooling and im2col with kernel k, stride s, pad p have
scale 1/s and shift (p - (k - 1)/2) / s, because the centre of the kernel at output 0 is at (k - 1)/2 - p.
Deconvolution is the inverse: scale s, shift (k - 1)/2 - p. Kernels are dilated first: k' = d (k - 1) + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from caffe_gp.caffe.net_spec import Function, Top
from caffe_gp.caffe.net_spec import layers as L
from caffe_gp.errors import NetError

CoordMap = tuple[Any, Any, Any]

_IDENTITY: CoordMap = (None, 1, 0)

PASS_THROUGH_LAYERS = [
    "AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Log", "LRN", "Exp", "MVN", "Power",
    "ReLU", "PReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold",
]  # fmt: skip

_LEGACY_FIELDS = {"pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w"}


class UndefinedMapException(NetError):
    """The layer's type has no coordinate map (its output is no picture of its input)."""


class AxisMismatchException(NetError):
    """Maps on different axes cannot be composed."""


class UnconnectedError(NetError, RuntimeError):
    """No chain of spatial layers joins the two tops. Also a RuntimeError, which is what pycaffe raises."""


class CropError(NetError, AssertionError):
    """The tops cannot be aligned by cropping. Also an AssertionError, which is what pycaffe raises."""


def conv_params(fn: Function) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """(axis, stride, dilated kernel size, pad) of a convolution, deconvolution, pooling or im2col."""
    params = fn.params.get("convolution_param", fn.params)
    if _LEGACY_FIELDS & set(params):
        raise CropError("cropping does not support legacy _h/_w params")
    kernel, stride, pad, dilation = (
        np.array(params.get(name, default), ndmin=1)
        for name, default in (("kernel_size", None), ("stride", 1), ("pad", 0), ("dilation", 1))
    )
    if kernel.dtype == object:
        raise CropError(f"{fn.type_name}: kernel_size is not given")
    return params.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn: Function) -> tuple[int, np.ndarray]:
    """(axis, offset) of a Crop layer, with Caffe's defaults."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> CoordMap:
    """The map from the layer's first bottom to its top. UndefinedMapException where there is none."""
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return _IDENTITY
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset  # the axis before the first cropped one, as convolution's counts
    raise UndefinedMapException(f"a {fn.type_name} layer has no coordinate map")


def compose(base_map: CoordMap, next_map: CoordMap) -> CoordMap:
    """The map ``x -> base(next(x))``. AxisMismatchException if both name an axis, and not the same."""
    base_axis, base_scale, base_shift = base_map
    next_axis, next_scale, next_shift = next_map
    if None not in (base_axis, next_axis) and base_axis != next_axis:
        raise AxisMismatchException(f"maps on axis {base_axis} and on axis {next_axis}")
    axis = next_axis if base_axis is None else base_axis
    return axis, base_scale * next_scale, base_scale * next_shift + base_shift


def inverse(coord_map: CoordMap) -> CoordMap:
    """The map back."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def coord_map_from_to(top_from: Top, top_to: Top) -> CoordMap:
    """The map of ``top_from``'s coordinates to ``top_to``'s, through an ancestor that both have.

    Raises UnconnectedError where there is none, AxisMismatchException.
    """
    from_maps = dict(_maps_from_ancestors(top_from))
    for top, to_map in _maps_from_ancestors(top_to):
        if top in from_maps:
            return compose(to_map, inverse(from_maps[top]))
    raise UnconnectedError("Could not compute map between tops; are they connected by spatial layers?")


def _maps_from_ancestors(top: Top) -> Iterator[tuple[Top, CoordMap]]:
    """The top itself and the tops that it is made of, each with its map to ``top``."""
    seen = {top}
    frontier = [(top, _IDENTITY)]
    while frontier:
        ancestor, to_top = frontier.pop()
        yield ancestor, to_top
        try:
            step = coord_map(ancestor.fn)
        except UndefinedMapException:
            continue
        # A Crop's second bottom gives only its size; where it lies does not matter.
        bottoms = ancestor.fn.inputs[:1] if ancestor.fn.type_name == "Crop" else ancestor.fn.inputs
        for bottom in bottoms:
            if bottom not in seen:
                seen.add(bottom)
                frontier.append((bottom, compose(to_top, step)))


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop layer that cuts from ``top_from`` what lies over ``top_to``; CropError if none can."""
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    scale, shift = np.asarray(scale), np.asarray(shift)
    if (scale != 1).any():
        raise CropError(f"scale mismatch on crop (a = {scale})")
    if (shift > 0).any():
        raise CropError(f"cannot crop negative offset (b = {shift})")
    if (np.round(shift) != shift).any():
        raise CropError(f"cannot crop noninteger offset (b = {shift})")
    if axis is None:
        raise CropError("the tops already have the same coordinates on every axis; there is nothing to crop")
    offset = [int(n) for n in np.atleast_1d(-np.round(shift))]
    return L.Crop(top_from, top_to, crop_param=dict(axis=axis + 1, offset=offset))
