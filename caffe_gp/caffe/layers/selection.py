"""Some of a batch's items: BatchReindex and Filter."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("BatchReindex")
class BatchReindexLayer(Layer):
    """Pick the items of ``bottom[0]`` whose indices ``bottom[1]`` lists; an item may occur several times."""

    exact_num_bottom = 2
    exact_num_top = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom[1].shape) != 1:
            raise self.error(f"the indices must be a 1-D blob, found shape {bottom[1].shape}")
        top[0].reshape(bottom[1].shape + bottom[0].shape[1:])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        index, count = bottom[1].data_tensor, bottom[0].shape[0]
        if bool(((index < 0) | (index >= count)).any()):
            raise self.error(f"indices must be in 0 to {count - 1}, found {index.min():g} to {index.max():g}")
        top[0].data_tensor = bottom[0].data_tensor.index_select(0, index.to(torch.int64))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
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
        if len(top) != len(bottom) - 1:
            raise self.error(f"{len(bottom)} bottoms need {len(bottom) - 1} top(s), found {len(top)}")
        self._first_reshape = True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
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
        for blob, source in zip(top, bottom[:-1], strict=True):
            blob.data_tensor = source.data_tensor.index_select(0, self._kept)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[-1]:
            raise self.error("cannot propagate down to the selector")
        for blob, source, wanted in zip(top, bottom, propagate_down, strict=False):
            if wanted:
                dx = torch.zeros_like(source.data_tensor)
                source.diff_tensor = dx.index_copy_(0, self._kept, blob.diff_tensor)

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Not for the selector."""
        return bottom_index < len(self.layer_param.bottom) - 1
