"""Smooth activations: Sigmoid, TanH, Swish, Mish, ELU and BNLL."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import scaled
from caffe_gp.caffe.layers.neuron_base import ElementwiseLayer, NeuronLayer
from caffe_gp.caffe.layers.registry import register


@register("Sigmoid")
class SigmoidLayer(ElementwiseLayer):
    """``1 / (1 + exp(-x))``; right in place too."""

    def function(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``y (1 - y)``."""
        return (1 - y).mul_(y)


@register("TanH")
class TanHLayer(ElementwiseLayer):
    """``tanh(x)``; right in place too."""

    def function(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``1 - y^2``."""
        return torch.addcmul(torch.ones_like(y), y, y, value=-1)


@register("Swish")
class SwishLayer(ElementwiseLayer):
    """``x sigmoid(beta x)``; the sigmoid is kept from the forward pass, so it is right in place too."""

    copies = 1

    def read_parameters(self) -> None:
        self._beta = self.layer_param.swish_param.beta
        self._sigmoid: torch.Tensor | None = None

    def function(self, x: torch.Tensor) -> torch.Tensor:
        self._sigmoid = torch.sigmoid(scaled(x, self._beta))
        return x * self._sigmoid

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``beta y + s (1 - beta y)``."""
        if self._sigmoid is None or self._sigmoid.shape != y.shape:
            raise self.error("backward needs a forward pass of the same shape first")
        inner = y * self._beta
        return (1 - inner).mul_(self._sigmoid).add_(inner)


@register("Mish")
class MishLayer(NeuronLayer):
    """``x tanh(log(1 + exp(x)))``; in place the input is kept aside, so that the gradient is right."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._input: torch.Tensor | None = None

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The input, in place."""
        return bottom[0].count if bottom[0] is top[0] else 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data_tensor
        self._input = x.clone() if bottom[0] is top[0] else None
        top[0].data_tensor = torch.nn.functional.mish(x)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``dy (t + x s (1 - t^2))`` with t the tanh above and s the sigmoid of x."""
        if not propagate_down[0]:
            return
        dy = top[0].diff_tensor
        x = self._input if bottom[0] is top[0] else bottom[0].data_tensor
        if x is None or x.shape != dy.shape:
            raise self.error("backward needs a forward pass of the same shape first")
        bottom[0].diff_tensor = torch.ops.aten.mish_backward(dy, x)


@register("ELU")
class ELULayer(ElementwiseLayer):
    """``x`` for x > 0, else ``alpha (exp(x) - 1)``; right in place too (for alpha > 0)."""

    copies = 2

    def read_parameters(self) -> None:
        self._alpha = self.layer_param.elu_param.alpha

    def function(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.elu(x, self._alpha)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """1, or ``alpha + y`` where x <= 0."""
        return torch.where(x > 0, torch.ones_like(y), y + self._alpha)


@register("BNLL")
class BNLLLayer(ElementwiseLayer):
    """Binomial normal log likelihood, ``log(1 + exp(x))``."""

    in_place_gradient_is_wrong = True

    def function(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(x)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``exp(x) / (1 + exp(x))``."""
        return torch.sigmoid(x)
