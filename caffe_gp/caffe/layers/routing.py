"""Layers that move values between blobs without changing them.

Split, Concat, Slice, Flatten, Reshape, Tile, BatchReindex, Filter, Parameter and Silence.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("Split")
class SplitLayer(Layer):
    """One blob for several readers: the tops share the bottom's data, their diffs are summed.

    The net inserts it wherever a blob has more than one reader.
    """

    exact_num_bottom = 1
    min_top = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """All tops have the bottom's shape; none may be the bottom itself."""
        for blob in top:
            if blob is bottom[0]:
                raise self.error("does not work in place")
            blob.reshape_like(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing is copied."""
        for blob in top:
            blob.share_data(bottom[0])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Sum in the order of the tops. A diff that nobody ever wrote is zero and costs nothing."""
        if not propagate_down[0]:
            return
        diffs = [blob.diff_tensor for blob in top if blob.has_diff]
        if not diffs:
            bottom[0].zero_diff()
            return
        total = diffs[0] + diffs[1] if len(diffs) > 1 else diffs[0].clone()
        for diff in diffs[2:]:
            total.add_(diff)
        bottom[0].diff_tensor = total


@register("Concat")
class ConcatLayer(Layer):
    """Join the bottoms along ``axis`` (default 1). A single bottom is passed on without a copy."""

    min_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """``axis`` and the old ``concat_dim`` exclude each other."""
        param = self.layer_param.concat_param
        if param.HasField("axis") and param.HasField("concat_dim"):
            raise self.error("concat_param holds both axis and concat_dim, expected one of them")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """All dimensions but the joined one must agree."""
        param, first = self.layer_param.concat_param, bottom[0].shape
        if param.HasField("concat_dim"):
            self._axis = param.concat_dim
            if self._axis >= len(first):
                raise self.error(f"concat_dim {self._axis} is out of range for the bottom's shape {first}")
        else:
            self._axis = bottom[0].canonical_axis(param.axis)
        before, after = first[: self._axis], first[self._axis + 1 :]
        for i, blob in enumerate(bottom):
            if (
                len(blob.shape) != len(first)
                or blob.shape[: self._axis] != before
                or blob.shape[self._axis + 1 :] != after
            ):
                raise self.error(
                    f"bottom {i} of shape {blob.shape} must equal bottom 0 of shape {first} "
                    f"in all axes but {self._axis}"
                )
        joined = sum(blob.shape[self._axis] for blob in bottom)
        top[0].reshape(before + (joined,) + after)
        if len(bottom) == 1:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy the bottoms one after the other."""
        if len(bottom) > 1:
            top[0].data_tensor = torch.cat([blob.data_tensor for blob in bottom], self._axis)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Each bottom gets its part of the diff."""
        if len(bottom) == 1:
            return
        dy, offset = top[0].diff_tensor, 0
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                # clone: a part along axis 0 would otherwise be a view of the top's own memory
                blob.diff_tensor = dy.narrow(self._axis, offset, blob.shape[self._axis]).clone()
            offset += blob.shape[self._axis]


@register("Silence")
class SilenceLayer(Layer):
    """Reads blobs so that they are no net outputs; computes nothing, gives zero diffs."""

    min_bottom = 1
    exact_num_top = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """There is no top."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing to compute."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Zero diffs (never the data)."""
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                blob.zero_diff()


@register("Slice")
class SliceLayer(Layer):
    """Cut the bottom along ``axis`` (default 1) at ``slice_point``, or into equal parts.

    A single top is the bottom passed on without a copy.
    """

    exact_num_bottom = 1
    min_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """``axis`` and the old ``slice_dim`` exclude each other."""
        param = self.layer_param.slice_param
        if param.HasField("axis") and param.HasField("slice_dim"):
            raise self.error("slice_param holds both axis and slice_dim, expected one of them")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """One part for each top, none empty."""
        param, shape = self.layer_param.slice_param, bottom[0].shape
        if param.HasField("slice_dim"):
            self._axis = param.slice_dim
            if self._axis >= len(shape):
                raise self.error(f"slice_dim {self._axis} is out of range for the bottom's shape {shape}")
        else:
            self._axis = bottom[0].canonical_axis(param.axis)
        self._sizes = self._part_sizes(shape[self._axis], list(param.slice_point), len(top))
        for blob, size in zip(top, self._sizes, strict=True):
            blob.reshape(shape[: self._axis] + (size,) + shape[self._axis + 1 :])
        if len(top) == 1:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def _part_sizes(self, total: int, points: list[int], parts: int) -> list[int]:
        if not points:
            if total % parts:
                raise self.error(f"{parts} tops do not evenly divide axis {self._axis} of size {total}")
            return [total // parts] * parts
        if len(points) != parts - 1:
            raise self.error(f"{parts} tops need {parts - 1} slice_point(s), found {len(points)}")
        bounds = [0, *points, total]
        sizes = [end - start for start, end in zip(bounds, bounds[1:], strict=False)]
        if min(sizes) < 1:
            raise self.error(
                f"slice_points {points} must increase and lie inside axis {self._axis} of size {total}"
            )
        return sizes

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy each part."""
        if len(top) > 1:
            parts = bottom[0].data_tensor.split(self._sizes, self._axis)
            for blob, part in zip(top, parts, strict=True):
                blob.data_tensor = part.clone()  # parts along axis 0 are views of the bottom

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Join the diffs."""
        if propagate_down[0] and len(top) > 1:
            bottom[0].diff_tensor = torch.cat([blob.diff_tensor for blob in top], self._axis)


class _SameMemoryLayer(Layer):
    """One bottom, one top that shows the same values in another shape."""

    exact_num_bottom = 1
    exact_num_top = 1

    def new_shape(self, shape: tuple[int, ...], bottom: Blob) -> tuple[int, ...]:
        """Shape of the top for a bottom of this shape."""
        raise NotImplementedError

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The counts are equal."""
        if bottom[0] is top[0]:
            raise self.error("does not work in place; give the top another name")
        shape = self.new_shape(bottom[0].shape, bottom[0])
        top[0].reshape(shape)
        if top[0].count != bottom[0].count:
            raise self.error(
                f"shape {shape} holds {top[0].count} values, the bottom of shape {bottom[0].shape} "
                f"{bottom[0].count}"
            )


@register("Flatten")
class FlattenLayer(_SameMemoryLayer):
    """Replace the axes from ``axis`` (1) to ``end_axis`` (-1), both included, by one.

    As in Caffe ``end_axis`` may be ``axis - 1``: that inserts an axis of size 1.
    """

    def new_shape(self, shape: tuple[int, ...], bottom: Blob) -> tuple[int, ...]:
        """Product of the flattened dimensions in place of them."""
        param = self.layer_param.flatten_param
        start, end = bottom.canonical_axis(param.axis), bottom.canonical_axis(param.end_axis)
        if start > end + 1:
            raise self.error(f"axis {param.axis} lies behind end_axis {param.end_axis} in shape {shape}")
        return shape[:start] + (bottom.count_from(start, end + 1),) + shape[end + 1 :]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Share the data."""
        top[0].share_data(bottom[0])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Share the diff (Caffe does so whatever ``propagate_down`` says)."""
        bottom[0].share_diff(top[0])


@register("Reshape")
class ReshapeLayer(_SameMemoryLayer):
    """New dimensions for ``num_axes`` axes from ``axis`` on: 0 copies one, -1 (once) fills up the count."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """At most one dimension may be left open."""
        self._dims = list(self.layer_param.reshape_param.shape.dim)
        if self._dims.count(-1) > 1:
            raise self.error(f"shape {self._dims} has more than one -1")

    def new_shape(self, shape: tuple[int, ...], bottom: Blob) -> tuple[int, ...]:
        """Kept axes, new dimensions, kept axes."""
        param, rank = self.layer_param.reshape_param, len(shape)
        start = param.axis if param.axis >= 0 else rank + param.axis + 1
        end = rank if param.num_axes == -1 else start + param.num_axes
        if not 0 <= start <= end <= rank or param.num_axes < -1:
            raise self.error(
                f"axis {param.axis} with num_axes {param.num_axes} is out of range for shape {shape}"
            )
        dims = list(self._dims)
        for i, dim in enumerate(dims):
            if dim == 0:
                if start + i >= rank:
                    raise self.error(f"dim {i} is 0, but shape {shape} has no axis {start + i} to copy")
                dims[i] = shape[start + i]
        if -1 in dims:
            known = math.prod(dim for dim in dims if dim != -1) * math.prod(shape[:start] + shape[end:])
            if known == 0 or bottom.count % known:
                raise self.error(f"{bottom.count} values cannot be divided by the given dimensions ({known})")
            dims[dims.index(-1)] = bottom.count // known
        return shape[:start] + tuple(dims) + shape[end:]

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The top shares data and diff from here on."""
        super().reshape(bottom, top)
        top[0].share_data(bottom[0])
        top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Nothing to do."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Nothing to do."""


@register("Tile")
class TileLayer(Layer):
    """Repeat the bottom ``tiles`` times along ``axis`` (default 1)."""

    exact_num_bottom = 1
    exact_num_top = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The axis grows by the factor ``tiles``."""
        param, shape = self.layer_param.tile_param, bottom[0].shape
        self._axis = axis = bottom[0].canonical_axis(param.axis)
        if param.tiles < 1:
            raise self.error(f"tile_param needs tiles >= 1, found {param.tiles}")
        top[0].reshape(shape[:axis] + (shape[axis] * param.tiles,) + shape[axis + 1 :])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy."""
        copies = [bottom[0].data_tensor] * self.layer_param.tile_param.tiles
        top[0].data_tensor = torch.cat(copies, self._axis)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Sum over the copies."""
        if propagate_down[0]:
            shape, tiles = bottom[0].shape, self.layer_param.tile_param.tiles
            dy = top[0].diff_tensor.reshape(shape[: self._axis] + (tiles,) + shape[self._axis :])
            bottom[0].diff_tensor = dy.sum(self._axis)


@register("BatchReindex")
class BatchReindexLayer(Layer):
    """Pick the items of ``bottom[0]`` whose indices ``bottom[1]`` lists; an item may occur several times."""

    exact_num_bottom = 2
    exact_num_top = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """As many items as indices."""
        if len(bottom[1].shape) != 1:
            raise self.error(f"the indices must be a 1-D blob, found shape {bottom[1].shape}")
        top[0].reshape(bottom[1].shape + bottom[0].shape[1:])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Gather."""
        index, count = bottom[1].data_tensor, bottom[0].shape[0]
        if bool(((index < 0) | (index >= count)).any()):
            raise self.error(f"indices must be in 0 to {count - 1}, found {index.min():g} to {index.max():g}")
        top[0].data_tensor = bottom[0].data_tensor.index_select(0, index.to(torch.int64))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Add each diff to the item it came from."""
        if propagate_down[1]:
            raise self.error("cannot propagate down to the indices")
        if propagate_down[0]:
            dx = torch.zeros_like(bottom[0].data_tensor)
            index = bottom[1].data_tensor.to(torch.int64)
            bottom[0].diff_tensor = dx.index_add_(0, index, top[0].diff_tensor)

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Not for the indices."""
        return bottom_index == 0


@register("Filter")
class FilterLayer(Layer):
    """Keep the items of each bottom where the last bottom, the selector, is not 0.

    The number of items is known only once the selector's data is; the net's first reshape makes room
    for all of them.
    """

    min_bottom = 2
    min_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """One top for each bottom but the selector."""
        if len(top) != len(bottom) - 1:
            raise self.error(f"{len(bottom)} bottoms need {len(bottom) - 1} top(s), found {len(top)}")
        self._first_reshape = True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the selector."""
        *inputs, selector = bottom
        if any(n != 1 for n in selector.shape[1:]):
            raise self.error(f"expected a selector of shape (N, 1, ...), found {selector.shape}")
        for i, blob in enumerate(inputs):
            if blob.shape[:1] != selector.shape[:1]:
                raise self.error(f"bottom {i} of shape {blob.shape} and the selector differ in batch size")
        self._kept = selector.data_tensor.flatten().nonzero().flatten()
        count = selector.shape[0] if self._first_reshape else self._kept.numel()
        self._first_reshape = False
        for blob, source in zip(top, inputs, strict=True):
            blob.reshape((count,) + source.shape[1:])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Gather."""
        for blob, source in zip(top, bottom[:-1], strict=True):
            blob.data_tensor = source.data_tensor.index_select(0, self._kept)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Zero for the items left out."""
        if propagate_down[-1]:
            raise self.error("cannot propagate down to the selector")
        for blob, source, wanted in zip(top, bottom, propagate_down, strict=False):
            if wanted:
                dx = torch.zeros_like(source.data_tensor)
                source.diff_tensor = dx.index_copy_(0, self._kept, blob.diff_tensor)

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Not for the selector."""
        return bottom_index < len(self.layer_param.bottom) - 1


@register("Parameter")
class ParameterLayer(Layer):
    """A learned blob as a top; the diff that the reader writes is the parameter's gradient."""

    exact_num_bottom = 0
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The parameter starts as zeros."""
        shape = tuple(self.layer_param.parameter_param.shape.dim)
        if not self.blobs:
            self.blobs.add_blob(*shape)
        self.param_propagate_down = [True]
        top[0].reshape(shape)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The shape is fixed."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Share both memories."""
        top[0].share_data(self.blobs[0])
        top[0].share_diff(self.blobs[0])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The gradient is in place already."""
