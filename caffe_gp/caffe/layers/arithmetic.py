"""Functions of one number: Exp, Log, Power, AbsVal, Clip and Threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer, scaled
from caffe_gp.caffe.layers.neuron_base import ElementwiseLayer, NeuronLayer, OverwritingLayer
from caffe_gp.caffe.layers.registry import register


@register("Exp")
class ExpLayer(ElementwiseLayer):
    """``base^(shift + scale x)``; base -1 stands for e. Right in place too."""

    def read_parameters(self) -> None:
        param = self.layer_param.exp_param
        log_base = _log_of_base(self, param.base)
        self._inner = _float32(log_base * param.scale)
        with np.errstate(over="ignore"):  # infinity, as in Caffe
            self._outer = float(np.exp(np.float32(log_base * param.shift)))

    def function(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.exp(x if self._inner == 1 else scaled(x, self._inner))
        return y if self._outer == 1 else y.mul_(self._outer)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``log(base) scale y``."""
        return scaled(y, self._inner)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The constant that a scale of 0 makes has the diff 0, whatever comes from above."""
        if propagate_down[0] and self._inner == 0:
            bottom[0].diff_tensor = torch.zeros_like(bottom[0].data_tensor)
        else:
            super().backward(top, propagate_down, bottom)


@register("Log")
class LogLayer(OverwritingLayer):
    """``log_base(shift + scale x)``; base -1 stands for e."""

    def read_parameters(self) -> None:
        param = self.layer_param.log_param
        log_base = _log_of_base(self, param.base)
        if log_base == 0:
            raise self.error("base 1 has no logarithm, expected another positive base")
        self._scale, self._shift = param.scale, param.shift
        self._outer, self._numerator = _float32(1 / log_base), _float32(param.scale / log_base)

    def _inside(self, x: torch.Tensor) -> torch.Tensor:
        inside = x if self._scale == 1 else scaled(x, self._scale)
        return inside if self._shift == 0 else inside + self._shift

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """NaN below 0, as in Caffe."""
        y = torch.log(self._inside(x))
        return y if self._outer == 1 else y.mul_(self._outer)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``scale / (log(base) (shift + scale x))``."""
        return torch.reciprocal(self._inside(x)).mul_(self._numerator)


@register("Power")
class PowerLayer(OverwritingLayer):
    """``(shift + scale x)^power``."""

    def read_parameters(self) -> None:
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

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The diff of a constant is 0, whatever comes from above."""
        if propagate_down[0] and self._slope == 0:
            bottom[0].diff_tensor = torch.zeros_like(bottom[0].data_tensor)
        else:
            super().backward(top, propagate_down, bottom)

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
class AbsValLayer(ElementwiseLayer):
    """``|x|``; refuses to work in place."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[0] is top[0]:
            raise self.error("does not work in place; give the top another name")

    def function(self, x: torch.Tensor) -> torch.Tensor:
        return torch.abs(x)

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.sign(x)


@register("Clip")
class ClipLayer(ElementwiseLayer):
    """``x`` limited to [min, max], both required."""

    in_place_gradient_is_wrong = True  # clipped values look like values on the bounds, which pass

    def read_parameters(self) -> None:
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


@register("Threshold")
class ThresholdLayer(NeuronLayer):
    """1 where ``x > threshold``, else 0; no gradient."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data_tensor
        top[0].data_tensor = (x > self.layer_param.threshold_param.threshold).to(x.dtype)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            raise self.error("has no gradient")

    def allow_force_backward(self, bottom_index: int) -> bool:
        return False


def _float32(value: float) -> float:
    """``value`` rounded to float32, in which Caffe holds its constants."""
    return float(np.float32(value))


def _log_of_base(layer: Layer, base: float) -> float:
    if base == -1:
        return 1.0
    if not 0 < base < math.inf:
        raise layer.error(f"base must be positive (or -1 for e), found {base:g}")
    return math.log(base)
