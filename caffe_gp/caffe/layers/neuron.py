"""Layers that map each element by itself: the activations, Dropout, Power and their kin.

All of them may run in place (top is bottom). Then ``backward`` sees the *output* values where Caffe's
formula reads the bottom data; that is Caffe's behaviour too and right wherever Caffe's users rely on it
(ReLU: the sign of the output tells the sign of the input).
"""
from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.base import TRAIN, Layer
from caffe_gp.caffe.layers.registry import register

log = logging.getLogger("caffe")


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
            bottom[0].diff_tensor = torch.ops.aten.leaky_relu_backward(dy, x, self._slope, False)
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
        if self.phase == TRAIN and not 0 <= self._ratio < 1:
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


class _ElementwiseLayer(NeuronLayer):
    """A smooth or piecewise function given by two methods on tensors.

    ``backward`` hands ``derivative`` the bottom and top data as they are *now*. In place both are the
    output. Where Caffe's formula reads the bottom data the result then differs from the true gradient,
    in Caffe and here alike; ``in_place_gradient_is_wrong`` marks those layers, and ``setup`` says so.
    """

    in_place_gradient_is_wrong = False

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the parameters; warn of in-place use that Caffe computes wrongly."""
        self.read_parameters()
        if self.in_place_gradient_is_wrong and bottom[0] is top[0]:
            log.warning(
                "layer '%s' (%s) works in place: Caffe's gradient for it is wrong then and is reproduced; "
                "give the top another name if you need its gradient",
                self.name,
                self.type,
            )

    def read_parameters(self) -> None:
        """Take what the functions need from ``layer_param``."""

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """The top data, a new tensor."""
        raise NotImplementedError

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Caffe's expression for dy/dx from bottom data ``x`` and top data ``y``, a new tensor."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Apply the function."""
        top[0].data_tensor = self.function(bottom[0].data_tensor)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Top diff times derivative."""
        if propagate_down[0]:
            slope = self.derivative(bottom[0].data_tensor, top[0].data_tensor)
            bottom[0].diff_tensor = slope.mul_(top[0].diff_tensor)


class _OverwritingLayer(_ElementwiseLayer):
    """Caffe writes the derivative into the bottom diff and multiplies it by the top diff afterwards.

    In place these are one array, so the top diff is lost and the derivative comes out squared.
    """

    in_place_gradient_is_wrong = True

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Top diff times derivative; in place the derivative squared, as in Caffe."""
        if propagate_down[0]:
            slope = self.derivative(bottom[0].data_tensor, top[0].data_tensor)
            bottom[0].diff_tensor = slope.mul_(slope if bottom[0] is top[0] else top[0].diff_tensor)


@register("Sigmoid")
class SigmoidLayer(_ElementwiseLayer):
    """``1 / (1 + exp(-x))``; right in place too."""

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """Values in (0, 1)."""
        return torch.sigmoid(x)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``y (1 - y)``."""
        return (1 - y).mul_(y)


@register("TanH")
class TanHLayer(_ElementwiseLayer):
    """``tanh(x)``; right in place too."""

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """Values in (-1, 1)."""
        return torch.tanh(x)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``1 - y^2``."""
        return torch.addcmul(torch.ones_like(y), y, y, value=-1)


@register("Swish")
class SwishLayer(_ElementwiseLayer):
    """``x sigmoid(beta x)``; the sigmoid is kept from the forward pass, so it is right in place too."""

    def read_parameters(self) -> None:
        """beta, 1 by default."""
        self._beta = self.layer_param.swish_param.beta
        self._sigmoid: torch.Tensor | None = None

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """x times its gate."""
        self._sigmoid = torch.sigmoid(x * self._beta)
        return x * self._sigmoid

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``beta y + s (1 - beta y)``."""
        if self._sigmoid is None or self._sigmoid.shape != y.shape:
            raise self.error("backward needs a forward pass of the same shape first")
        scaled = y * self._beta
        return (1 - scaled).mul_(self._sigmoid).add_(scaled)


@register("ELU")
class ELULayer(_ElementwiseLayer):
    """``x`` for x > 0, else ``alpha (exp(x) - 1)``; right in place too (for alpha > 0)."""

    def read_parameters(self) -> None:
        """alpha, 1 by default."""
        self._alpha = self.layer_param.elu_param.alpha

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """Values above -alpha."""
        return torch.nn.functional.elu(x, self._alpha)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """1, or ``alpha + y`` where x <= 0."""
        return torch.where(x > 0, torch.ones_like(y), y + self._alpha)


@register("BNLL")
class BNLLLayer(_ElementwiseLayer):
    """Binomial normal log likelihood, ``log(1 + exp(x))``."""

    in_place_gradient_is_wrong = True

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """A smooth maximum of x and 0."""
        return torch.nn.functional.softplus(x)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``exp(x) / (1 + exp(x))``."""
        return torch.sigmoid(x)


@register("Clip")
class ClipLayer(_ElementwiseLayer):
    """``x`` limited to [min, max], both required."""

    in_place_gradient_is_wrong = True  # clipped values look like values on the bounds, which pass

    def read_parameters(self) -> None:
        """The bounds."""
        param = self.layer_param.clip_param
        if not (param.HasField("min") and param.HasField("max")):
            raise self.error("clip_param needs min and max")
        self._min, self._max = param.min, param.max

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """Should min exceed max, min wins."""
        return torch.clamp_max(x, self._max).clamp_min_(self._min)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """1 inside, bounds included, else 0."""
        return ((x >= self._min) & (x <= self._max)).to(x.dtype)


@register("Exp")
class ExpLayer(_ElementwiseLayer):
    """``base^(shift + scale x)``; base -1 stands for e. Right in place too."""

    def read_parameters(self) -> None:
        """The logarithm of the base must be finite."""
        param = self.layer_param.exp_param
        log_base = _log_of_base(self, param.base)
        self._inner = _float32(log_base * param.scale)
        self._outer = _float32(math.exp(log_base * param.shift))

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """Positive values."""
        y = torch.exp(x if self._inner == 1 else x * self._inner)
        return y if self._outer == 1 else y.mul_(self._outer)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``log(base) scale y``."""
        return y * self._inner


@register("Log")
class LogLayer(_OverwritingLayer):
    """``log_base(shift + scale x)``; base -1 stands for e."""

    def read_parameters(self) -> None:
        """The logarithm of the base must be finite and not zero."""
        param = self.layer_param.log_param
        log_base = _log_of_base(self, param.base)
        if log_base == 0:
            raise self.error("base 1 has no logarithm, expected another positive base")
        self._scale, self._shift = param.scale, param.shift
        self._outer, self._numerator = _float32(1 / log_base), _float32(param.scale / log_base)

    def _inside(self, x: torch.Tensor) -> torch.Tensor:
        inside = x if self._scale == 1 else x * self._scale
        return inside if self._shift == 0 else inside + self._shift

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """NaN below 0, as in Caffe."""
        y = torch.log(self._inside(x))
        return y if self._outer == 1 else y.mul_(self._outer)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``scale / (log(base) (shift + scale x))``."""
        return torch.reciprocal(self._inside(x)).mul_(self._numerator)


@register("Power")
class PowerLayer(_OverwritingLayer):
    """``(shift + scale x)^power``."""

    def read_parameters(self) -> None:
        """power and scale are 1, shift is 0 by default."""
        param = self.layer_param.power_param
        self._power, self._scale, self._shift = param.power, param.scale, param.shift
        self._slope = _float32(self._power * self._scale)

    def _base(self, x: torch.Tensor) -> torch.Tensor:
        base = x * self._scale if self._scale != 1 else x.clone()
        return base.add_(self._shift) if self._shift else base

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """A constant where power or scale is 0."""
        if self._slope == 0:
            constant = torch.full((), self._shift).pow(self._power).item() if self._power else 1.0
            return torch.full_like(x, constant)
        y = self._base(x)
        return y if self._power == 1 else y.pow_(self._power)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``power scale (shift + scale x)^(power - 1)``, as y divided by its base (NaN where that is 0)."""
        if self._slope == 0 or self._power == 1:
            return torch.full_like(x, self._slope)
        if self._power == 2:
            return (x * (self._slope * self._scale)).add_(self._slope * self._shift)
        if self._shift == 0:
            return (y / x).mul_(self._power)
        return (y / self._base(x)).mul_(self._slope)


@register("AbsVal")
class AbsValLayer(_ElementwiseLayer):
    """``|x|``; refuses to work in place."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Top and bottom must differ."""
        if bottom[0] is top[0]:
            raise self.error("does not work in place; give the top another name")

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """The magnitude."""
        return torch.abs(x)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """-1, 0 or 1."""
        return torch.sign(x)


@register("Threshold")
class ThresholdLayer(NeuronLayer):
    """1 where ``x > threshold``, else 0; no gradient."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Compare."""
        x = bottom[0].data_tensor
        top[0].data_tensor = (x > self.layer_param.threshold_param.threshold).to(x.dtype)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """There is none."""
        if propagate_down[0]:
            raise self.error("has no gradient")

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Never: force_backward leaves the layer alone."""
        return False


@register("PReLU")
class PReLULayer(NeuronLayer):
    """``max(x, 0) + slope_c min(x, 0)`` with a learned slope for each channel, or one for all.

    ``blobs[0]``: (channels,), or () with ``channel_shared``; filled with 0.25 by default.
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Create and fill the slopes."""
        self._check_axes(bottom[0])
        param, channels = self.layer_param.prelu_param, bottom[0].shape[1]
        if not self.blobs:
            blob = self.blobs.add_blob(*(() if param.channel_shared else (channels,)))
            if param.HasField("filler"):
                fill(blob, param.filler)
            else:
                blob.data_tensor.fill_(0.25)
        expected = 1 if param.channel_shared else channels
        if self.blobs[0].count != expected:
            raise self.error(f"expected {expected} slope(s), found {self.blobs[0].count}")
        self.param_propagate_down = [True]
        self._input: torch.Tensor | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The top has the bottom's shape."""
        self._check_axes(bottom[0])
        shared = self.layer_param.prelu_param.channel_shared
        self._view = (1,) if shared else (1, self.blobs[0].count) + (1,) * (len(bottom[0].shape) - 2)
        super().reshape(bottom, top)

    def _check_axes(self, bottom: Blob) -> None:
        if len(bottom.shape) < 2:
            raise self.error(f"needs a bottom with a channel axis, found shape {bottom.shape}")

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


def _float32(value: float) -> float:
    """``value`` rounded to float32, in which Caffe holds its constants."""
    return float(np.float32(value))


def _log_of_base(layer: Layer, base: float) -> float:
    if base == -1:
        return 1.0
    if not 0 < base < math.inf:
        raise layer.error(f"base must be positive (or -1 for e), found {base:g}")
    return math.log(base)
