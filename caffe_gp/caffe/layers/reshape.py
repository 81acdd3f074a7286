"""The same values in another shape: Flatten and Reshape."""

from __future__ import annotations

import math
from collections.abc import Sequence

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


class _SameMemoryLayer(Layer):
    """One bottom, one top that shows the same values in another shape."""

    exact_num_bottom = 1
    exact_num_top = 1
    shares_memory = True

    def new_shape(self, shape: tuple[int, ...], bottom: Blob) -> tuple[int, ...]:
        """Shape of the top for a bottom of this shape."""
        raise NotImplementedError

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
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
        param = self.layer_param.flatten_param
        start, end = bottom.canonical_axis(param.axis), bottom.canonical_axis(param.end_axis)
        if start > end + 1:
            raise self.error(f"axis {param.axis} lies behind end_axis {param.end_axis} in shape {shape}")
        return shape[:start] + (bottom.count_from(start, end + 1),) + shape[end + 1 :]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].share_data(bottom[0])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Share the diff (Caffe does so whatever ``propagate_down`` says)."""
        bottom[0].share_diff(top[0])


@register("Reshape")
class ReshapeLayer(_SameMemoryLayer):
    """New dimensions for ``num_axes`` axes from ``axis`` on: 0 copies one, -1 (once) fills up the count."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._dims = list(self.layer_param.reshape_param.shape.dim)
        if self._dims.count(-1) > 1:
            raise self.error(f"shape {self._dims} has more than one -1")

    def new_shape(self, shape: tuple[int, ...], bottom: Blob) -> tuple[int, ...]:
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
        pass

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        pass
