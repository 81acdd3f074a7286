"""Layers that only move values between blobs: Split, Concat, Slice, Flatten, Reshape, Tile, ... Silence."""
from __future__ import annotations

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
