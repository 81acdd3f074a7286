"""Reorg: blocks of pixels to channels, in darknet's order (YOLOv2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("Reorg")
class ReorgLayer(Layer):
    """(N, C, H, W) to (N, C s^2, H / s, W / s), s = ``stride``; with ``reverse`` to (N, C / s^2, H s, W s).

    Darknet's operation, which is not the plain one: it reads the values as if there were C / s^2 channels
    of s times the height and width. ``reverse`` is the plain depth to space, not its inverse. The gradient
    is the inverse permutation; the fork's own is of values that nobody wrote.
    """

    exact_num_bottom = 1
    exact_num_top = 1
    reshapes_by_shape = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.reorg_param
        self._stride, self._reverse = param.stride, param.reverse
        if self._stride < 1:
            raise self.error("reorg_param.stride must be given and positive")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """See the class."""
        if bottom[0] is top[0]:
            raise self.error("does not work in place; give the top another name")
        if len(bottom[0].shape) != 4:
            raise self.error(f"the bottom must have 4 axes, found shape {bottom[0].shape}")
        n, c, height, width = bottom[0].shape
        s = self._stride
        if c % s**2 or not self._reverse and (height % s or width % s):
            sides = "" if self._reverse else f", and height and width by {s}"
            raise self.error(
                f"stride {s} needs channels that can be divided by {s**2}{sides}; found {bottom[0].shape}"
            )
        # The values as they lie in the bottom, and the order of these axes in the top.
        if self._reverse:
            self._axes, self._order = (n, s, s, c // s**2, height, width), (0, 3, 4, 1, 5, 2)
            top[0].reshape(n, c // s**2, height * s, width * s)
        else:
            self._axes, self._order = (n, c // s**2, height, s, width, s), (0, 3, 5, 1, 2, 4)
            top[0].reshape(n, c * s**2, height // s, width // s)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        moved = bottom[0].data_tensor.reshape(self._axes).permute(self._order)
        top[0].data_tensor = _copied(moved, top[0])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            back = [self._order.index(axis) for axis in range(6)]
            dy = top[0].diff_tensor.reshape([self._axes[axis] for axis in self._order])
            bottom[0].diff_tensor = _copied(dy.permute(back), bottom[0])


def _copied(values: torch.Tensor, blob: Blob) -> torch.Tensor:
    return values.clone(memory_format=torch.contiguous_format).view(blob.shape)
