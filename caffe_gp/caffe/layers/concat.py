"""Joining, cutting and repeating along one axis: Concat, Slice and Tile."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("Concat")
class ConcatLayer(Layer):
    """Join the bottoms along ``axis`` (default 1). A single bottom is passed on without a copy."""

    min_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
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
        if len(bottom) > 1:
            top[0].data_tensor = torch.cat([blob.data_tensor for blob in bottom], self._axis)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if len(bottom) == 1:
            return
        dy, offset = top[0].diff_tensor, 0
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                # clone: a part along axis 0 would otherwise be a view of the top's own memory
                blob.diff_tensor = dy.narrow(self._axis, offset, blob.shape[self._axis]).clone()
            offset += blob.shape[self._axis]


@register("Slice")
class SliceLayer(Layer):
    """Cut the bottom along ``axis`` (default 1) at ``slice_point``, or into equal parts.

    A single top is the bottom passed on without a copy.
    """

    exact_num_bottom = 1
    min_top = 1
    copies = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
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
        if len(top) > 1:
            parts = bottom[0].data_tensor.split(self._sizes, self._axis)
            for blob, part in zip(top, parts, strict=True):
                blob.data_tensor = part.clone()  # parts along axis 0 are views of the bottom

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0] and len(top) > 1:
            bottom[0].diff_tensor = torch.cat([blob.diff_tensor for blob in top], self._axis)


@register("Tile")
class TileLayer(Layer):
    """Repeat the bottom ``tiles`` times along ``axis`` (default 1)."""

    exact_num_bottom = 1
    exact_num_top = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param, shape = self.layer_param.tile_param, bottom[0].shape
        self._axis = axis = bottom[0].canonical_axis(param.axis)
        if param.tiles < 1:
            raise self.error(f"tile_param needs tiles >= 1, found {param.tiles}")
        top[0].reshape(shape[:axis] + (shape[axis] * param.tiles,) + shape[axis + 1 :])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        copies = [bottom[0].data_tensor] * self.layer_param.tile_param.tiles
        top[0].data_tensor = torch.cat(copies, self._axis)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            shape, tiles = bottom[0].shape, self.layer_param.tile_param.tiles
            dy = top[0].diff_tensor.reshape(shape[: self._axis] + (tiles,) + shape[self._axis :])
            bottom[0].diff_tensor = dy.sum(self._axis)
