"""Shapes of the blobs of a description, as far as it tells them: for messages, before any net is built."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence, Tuple

from caffe_gp.images.interpolation import Interp
from caffe_gp.images.unpooling import Unpooling, Upsample
from caffe_gp.proto.set_fields import set_fields
from caffe_gp.surgery.inputs import data_shape
from caffe_gp.surgery.layers import DEPTHWISE
from caffe_gp.surgery.positions import POSITION_WISE, conv_windows, pool_windows

Dim = Optional[int]
Shape = Tuple[Dim, ...]


def blob_shapes(net: Any, data: str = "", size: Sequence[int] = ()) -> dict[str, Shape]:
    """Shapes by blob; None for a dimension that the description does not tell.

    data, size   the image blob, and its height and width where they are not the description's; other inputs'
                 are then not known
    Blobs of which it tells nothing are left out. Of a blob that is written in place, the last.
    """
    shapes: dict[str, Shape] = {}
    for layer in net.layer:
        if layer.type == "Input":
            given = list(layer.input_param.shape)
            given *= len(layer.top) if len(given) == 1 else 1
            for top, shape in zip(layer.top, given):
                shapes[top] = tuple(shape.dim)
                if size and len(shape.dim) == 4:
                    shapes[top] = (*shape.dim[:2], *(size if top == data else (None, None)))
        elif not layer.bottom and layer.top:
            shapes[layer.top[0]] = data_shape(layer)
        elif layer.type == "Slice" and layer.bottom and layer.bottom[0] in shapes:
            shapes.update(zip(layer.top, _slices(layer, shapes[layer.bottom[0]])))
        elif layer.bottom and all(bottom in shapes for bottom in layer.bottom):
            shape = _top_shape(layer, [shapes[bottom] for bottom in layer.bottom])
            if shape is not None:
                shapes.update((top, shape) for top in layer.top)
    return shapes


def _top_shape(layer: Any, bottoms: Sequence[Shape]) -> Shape | None:
    first, fewest_axes = bottoms[0], min(map(len, bottoms))
    if layer.type == "Concat" and layer.concat_param.axis == 1 and fewest_axes > 1:
        return first[0], _sum([shape[1] for shape in bottoms]), *first[2:]
    if layer.type in POSITION_WISE or layer.type in ("Normalize", "MultiStageMeanfield"):
        return first
    if layer.type == "Axpy" and len(bottoms) == 3:
        return bottoms[1]
    if not first:
        return None
    if layer.type == "Tile":
        axis, tiles = canonical_axis(layer.tile_param.axis, first), layer.tile_param.tiles
        return None if axis is None else (*first[:axis], product([first[axis], tiles]), *first[axis + 1 :])
    if layer.type == "Permute":
        return _permuted(list(layer.permute_param.order), first)
    if layer.type in _SPATIAL and len(first) == 4:
        return _SPATIAL[layer.type](layer, bottoms)
    if layer.type == "InnerProduct":
        axis = canonical_axis(layer.inner_product_param.axis, first)
        return None if axis is None else (*first[:axis], layer.inner_product_param.num_output)
    if layer.type == "Reshape" and layer.reshape_param.axis == 0 and layer.reshape_param.num_axes == -1:
        return _reshaped(tuple(layer.reshape_param.shape.dim), first)
    if layer.type == "Flatten" and layer.flatten_param.axis == 1 and layer.flatten_param.end_axis == -1:
        return first[0], product(first[1:])
    return None


def _slices(layer: Any, bottom: Shape) -> list[Shape]:
    """The tops of a Slice; none where they do not follow."""
    param, tops = layer.slice_param, len(layer.top)
    axis = canonical_axis(param.slice_dim if param.HasField("slice_dim") else param.axis, bottom)
    if not tops or axis is None:
        return []
    whole = bottom[axis]
    parts: list[Dim] = [None if whole is None else whole // tops] * tops
    if param.slice_point:
        ends = [0, *param.slice_point, whole]
        parts = [None if end is None else end - (start or 0) for start, end in zip(ends, ends[1:])]
    return [(*bottom[:axis], part, *bottom[axis + 1 :]) for part in parts]


def _reshaped(dims: Shape, bottom: Shape) -> Shape | None:
    if any(dim == 0 and i >= len(bottom) for i, dim in enumerate(dims)):
        return None
    kept = [bottom[i] if dim == 0 else dim for i, dim in enumerate(dims)]
    if -1 in kept:
        rest, values = product([dim for dim in kept if dim != -1]), product(bottom)
        kept[kept.index(-1)] = values // rest if values and rest else None
    return tuple(kept)


def _permuted(order: Sequence[int], bottom: Shape) -> Shape | None:
    if len(set(order)) != len(order) or any(axis >= len(bottom) for axis in order):
        return None  # the layer will say it
    return tuple(bottom[axis] for axis in (*order, *(i for i in range(len(bottom)) if i not in order)))


def _convolution(layer: Any, bottoms: Sequence[Shape]) -> Shape:
    sides = [
        None if n is None else (n + 2 * pad - extent) // stride + 1
        for n, (extent, stride, pad) in zip(bottoms[0][2:], conv_windows(layer))
    ]
    return bottoms[0][0], layer.convolution_param.num_output, *sides


def _deconvolution(layer: Any, bottoms: Sequence[Shape]) -> Shape:
    sides = [
        None if n is None else stride * (n - 1) + extent - 2 * pad
        for n, (extent, stride, pad) in zip(bottoms[0][2:], conv_windows(layer))
    ]
    return bottoms[0][0], layer.convolution_param.num_output, *sides


def _pooling(layer: Any, bottoms: Sequence[Shape]) -> Shape:
    if layer.pooling_param.global_pooling:
        return *bottoms[0][:2], 1, 1
    sides: list[Dim] = []
    for n, (extent, stride, pad) in zip(bottoms[0][2:], pool_windows(layer)):
        if n is None:
            sides.append(None)
            continue
        size = -(-(n + 2 * pad - extent) // stride) + 1
        # The last window must begin inside the image.
        sides.append(size - 1 if pad and (size - 1) * stride >= n + pad else size)
    return *bottoms[0][:2], *sides


def _crop(layer: Any, bottoms: Sequence[Shape]) -> Shape | None:
    axis = layer.crop_param.axis % 4
    if len(bottoms) < 2:
        return None
    return *bottoms[0][:axis], *bottoms[1][axis:]


def _interp(layer: Any, bottoms: Sequence[Shape]) -> Shape:
    size = bottoms[0][2:]
    if None in size:
        return *bottoms[0][:2], None, None
    try:
        return *bottoms[0][:2], *Interp(**set_fields(layer.interp_param)).output_size([n or 0 for n in size])
    except ValueError:  # the layer will say it
        return *bottoms[0][:2], None, None


def _upsample(layer: Any, bottoms: Sequence[Shape]) -> Shape:
    size: tuple[Dim, Dim] = (None, None)
    try:
        rule = Upsample(len(bottoms) == 2, **set_fields(layer.upsample_param))
        if rule.upsample_h is not None or None not in bottoms[0][2:]:
            size = rule.output_size([n or 0 for n in bottoms[0][2:]])
    except ValueError:  # the layer will say it
        pass
    return *bottoms[0][:2], *size


def _unpooling(layer: Any, bottoms: Sequence[Shape]) -> Shape:
    size: tuple[Dim, Dim] = (None, None)
    try:
        size = Unpooling(len(bottoms) == 2, **set_fields(layer.unpooling_param)).output_size
    except ValueError:  # the layer will say it
        pass
    return *bottoms[0][:2], *size


def _crop_center(layer: Any, bottoms: Sequence[Shape]) -> Shape | None:
    cut = layer.crop_center_param.crop_size
    if len(cut) != 4:
        return None
    return tuple(None if n is None else n - 2 * part for n, part in zip(bottoms[0], cut))


_SPATIAL: dict[str, Callable[[Any, Sequence[Shape]], Shape | None]] = {
    "Convolution": _convolution,
    **dict.fromkeys(DEPTHWISE, _convolution),
    "Deconvolution": _deconvolution,
    "Pooling": _pooling,
    "Crop": _crop,
    "Interp": _interp,
    "CropCenter": _crop_center,
    "Upsample": _upsample,
    "Unpooling": _unpooling,
    "UnPooling": _unpooling,
}


def _sum(dims: Sequence[Dim]) -> Dim:
    return None if None in dims else sum(dim or 0 for dim in dims)


def canonical_axis(axis: int, shape: Shape) -> int | None:
    """The axis counted from the front, where -1 is the last; None if the shape has no such axis."""
    return axis % len(shape) if -len(shape) <= axis < len(shape) else None


def product(dims: Sequence[Dim]) -> Dim:
    """The product of dimensions; None if one is not known."""
    total = 1
    for dim in dims:
        if dim is None:
            return None
        total *= dim
    return total
