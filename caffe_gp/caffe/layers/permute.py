"""Permute: the axes of a blob in another order (SSD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register

_SHOWN = 33  # of a list, in a message: a blob has 32 axes at most


@register("Permute")
class PermuteLayer(Layer):
    """Axis i of the top is axis ``order[i]`` of the bottom; axes that ``order`` leaves out follow, ascending.

    Any number of axes. An order that changes nothing makes the top the bottom's own memory, data and diff.
    """

    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        order, axes = list(self.layer_param.permute_param.order), len(bottom[0].shape)
        if len(set(order)) != len(order) or not all(axis < axes for axis in order):
            raise self.error(
                f"permute_param.order must name axes of the bottom's shape {bottom[0].shape}, 0 to "
                f"{axes - 1}, each once at most; found {order[:_SHOWN]}"
            )
        self._order = [*order, *(axis for axis in range(axes) if axis not in order)]
        self._inverse = [self._order.index(axis) for axis in range(axes)]
        self.shares_memory = self._order == self._inverse == list(range(axes))

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The bottom's dimensions in the new order."""
        shape = bottom[0].shape
        if len(shape) != len(self._order):
            raise self.error(f"was set up for {len(self._order)} axes, found a bottom of shape {shape}")
        if bottom[0] is top[0]:
            raise self.error("does not work in place; give the top another name")
        top[0].reshape([shape[axis] for axis in self._order])
        if self.shares_memory:
            top[0].share_data(bottom[0])
            top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.shares_memory:
            top[0].data_tensor = _permuted(bottom[0].data_tensor, self._order)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The diff's axes in the bottom's order."""
        if propagate_down[0] and not self.shares_memory:
            bottom[0].diff_tensor = _permuted(top[0].diff_tensor, self._inverse)


def _permuted(values: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    # Always a copy: of a channels-last tensor the view may be dense already, and still be the other blob's.
    return values.permute(*order).clone(memory_format=torch.contiguous_format)
