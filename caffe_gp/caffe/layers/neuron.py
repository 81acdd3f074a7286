"""Layers that map each element by itself: the activations, Dropout, Power and their kin.

All of them may run in place (top is bottom). Then ``backward`` sees the *output* values where Caffe's
formula reads the bottom data; that is Caffe's behaviour too and right wherever Caffe's users rely on it
(ReLU: the sign of the output tells the sign of the input).
"""
from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import TRAIN, Layer
from caffe_gp.caffe.layers.registry import register


class NeuronLayer(Layer):
    """One bottom, one top of the same shape."""

    exact_num_bottom = 1
    exact_num_top = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The top has the bottom's shape."""
        top[0].reshape_like(bottom[0])


@register("ReLU")
class ReLULayer(NeuronLayer):
    """``max(x, 0) + negative_slope * min(x, 0)``."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the slope."""
        self._slope = self.layer_param.relu_param.negative_slope

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """In place the values are changed where they lie, without a second buffer."""
        x = bottom[0].data_tensor
        if bottom[0] is top[0]:
            if self._slope:
                torch.nn.functional.leaky_relu_(x, self._slope)
            else:
                x.relu_()
        elif self._slope:
            top[0].data_tensor = torch.nn.functional.leaky_relu(x, self._slope)
        else:
            top[0].data_tensor = torch.relu(x)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The slope where the bottom data is <= 0, else 1 (in place: of the output, which has its sign)."""
        if not propagate_down[0]:
            return
        dy, x = top[0].diff_tensor, bottom[0].data_tensor
        if self._slope:
            bottom[0].diff_tensor = torch.where(x > 0, dy, dy * self._slope)
        elif bottom[0] is top[0]:
            torch.ops.aten.threshold_backward.grad_input(dy, x, 0, grad_input=dy)
        else:
            bottom[0].diff_tensor = torch.ops.aten.threshold_backward(dy, x, 0)


@register("Dropout")
class DropoutLayer(NeuronLayer):
    """TRAIN: zero elements with probability ``dropout_ratio``, divide the rest by 1 - ratio. TEST: copy."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the ratio."""
        self._ratio = self.layer_param.dropout_param.dropout_ratio
        if not 0 <= self._ratio < 1:
            raise self.error(f"dropout_ratio must be in [0, 1), found {self._ratio:g}")
        self._mask: torch.Tensor | None = None

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Draw a new mask (TRAIN); at TEST in place there is nothing to do."""
        x = bottom[0].data_tensor
        if self.phase == TRAIN:
            self._mask = torch.empty_like(x).bernoulli_(1 - self._ratio).mul_(1 / (1 - self._ratio))
            if bottom[0] is top[0]:
                x.mul_(self._mask)
            else:
                top[0].data_tensor = x * self._mask
        elif bottom[0] is not top[0]:
            top[0].data_tensor = x.clone()

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The same mask on the diff (TRAIN), or the diff as it is (TEST)."""
        if not propagate_down[0]:
            return
        dy = top[0].diff_tensor
        if self.phase == TRAIN:
            if self._mask is None or self._mask.shape != dy.shape:
                raise self.error("backward needs a forward pass of the same shape first")
            if bottom[0] is top[0]:
                dy.mul_(self._mask)
            else:
                bottom[0].diff_tensor = dy * self._mask
        elif bottom[0] is not top[0]:
            bottom[0].diff_tensor = dy.clone()
