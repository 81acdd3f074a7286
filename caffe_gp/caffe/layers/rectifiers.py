"""Activations that bend at zero: ReLU, ReLU6 and PReLU."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.neuron_base import ElementwiseLayer, NeuronLayer
from caffe_gp.caffe.layers.registry import register


@register("ReLU")
class ReLULayer(NeuronLayer):
    """``max(x, 0) + negative_slope * min(x, 0)``."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._slope = self.layer_param.relu_param.negative_slope
        self.idempotent_in_place = not self._slope

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
            bottom[0].diff_tensor = torch.ops.aten.leaky_relu_backward(dy, x, self._slope, False)
        elif bottom[0] is top[0]:
            if self.diff_window is not None:
                dy, x = self.diff_window.of(dy), self.diff_window.of(x)
            torch.ops.aten.threshold_backward.grad_input(dy, x, 0, grad_input=dy)
        else:
            bottom[0].diff_tensor = torch.ops.aten.threshold_backward(dy, x, 0)


@register("ReLU6")
class ReLU6Layer(ElementwiseLayer):
    """``min(max(x, 0) + negative_slope * min(x, 0), 6)``; right in place too (for slopes >= 0)."""

    copies = 2

    def read_parameters(self) -> None:
        """MobileNet-YOLO's ``relu6_param``; other forks' layer of this name has no parameters."""
        if self.layer_param.relu_param.negative_slope:
            raise self.error("reads negative_slope from relu6_param, found one in relu_param")
        self._slope = self.layer_param.relu6_param.negative_slope
        self.idempotent_in_place = not self._slope

    def function(self, x: torch.Tensor) -> torch.Tensor:
        if not self._slope:
            return x.clamp(0, 6)
        return torch.nn.functional.leaky_relu(x, self._slope).clamp_(max=6)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """1, or ``negative_slope`` where x <= 0; 0 from 6 on."""
        return torch.where(x > 0, 1.0, self._slope).mul_(x < 6)


@register("PReLU")
class PReLULayer(NeuronLayer):
    """``max(x, 0) + slope_c min(x, 0)`` with a learned slope for each channel, or one for all.

    ``blobs[0]``: (channels,), or () with ``channel_shared``; filled with 0.25 by default.
    """

    copies = 2

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check_axes(bottom[0])
        param, channels = self.layer_param.prelu_param, bottom[0].shape[1]
        if not self.blobs:
            blob = self.blobs.add_blob(*(() if param.channel_shared else (channels,)))
            if param.HasField("filler"):
                fill(blob, param.filler)
            else:
                blob.data_tensor.fill_(0.25)
        self.param_propagate_down = [True]
        self._input: torch.Tensor | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The bottom's shape; its channels must stay as many as the slopes are."""
        self._check_axes(bottom[0])
        shared = self.layer_param.prelu_param.channel_shared
        expected = 1 if shared else bottom[0].shape[1]
        if self.blobs[0].count != expected:
            raise self.error(
                f"has {self.blobs[0].count} slope(s), the bottom of shape {bottom[0].shape} needs {expected}"
            )
        self._view = (1,) if shared else (1, self.blobs[0].count) + (1,) * (len(bottom[0].shape) - 2)
        super().reshape(bottom, top)

    def _check_axes(self, bottom: Blob) -> None:
        if len(bottom.shape) < 2:
            raise self.error(f"needs a bottom with a channel axis, found shape {bottom.shape}")

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The input, in place."""
        return bottom[0].count if bottom[0] is top[0] else 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """In place the input is kept aside: with a negative slope its sign cannot be told from the output."""
        x = bottom[0].data_tensor
        self._input = x.clone() if bottom[0] is top[0] else None
        top[0].data_tensor = torch.where(x > 0, x, x * self.blobs[0].data_tensor.reshape(self._view))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``dslope_c += sum dy x`` over x <= 0; ``dx = dy``, or ``dy slope_c`` where x <= 0."""
        dy = top[0].diff_tensor
        x = self._input if bottom[0] is top[0] else bottom[0].data_tensor
        if x is None or x.shape != dy.shape:
            raise self.error("backward needs a forward pass of the same shape first")
        slope = self.blobs[0]
        if self.param_propagate_down[0]:
            products = dy * x.clamp(max=0)
            axes = [0, *range(2, products.dim())]
            total = products.sum() if self._view == (1,) else products.sum(axes)
            slope.diff_tensor.add_(total.view(slope.shape))
        if propagate_down[0]:
            bottom[0].diff_tensor = torch.where(x > 0, dy, dy * slope.data_tensor.reshape(self._view))
