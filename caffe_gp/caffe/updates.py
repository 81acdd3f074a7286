"""The update rules of Caffe's solvers: from the parameters' diffs to the step that is subtracted from them.

Each rule keeps ``history``, a list of tensors in the order in which Caffe's solverstate stores them, and
turns a list of diffs, in place, into steps. All parameters are updated together by torch's ``_foreach``
kernels, which matters for nets of many small layers.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from caffe_gp.errors import PrototxtError

Tensors = list[torch.Tensor]


class Update:
    """Base: reads the solver's hyper-parameters; ``history`` starts as zeros."""

    name = ""
    histories = 1  # tensors kept for each parameter
    uses_momentum = True

    def __init__(self, param: Any, source: str, params: Tensors) -> None:
        self.momentum, self.delta = param.momentum, param.delta
        self.momentum2, self.rms_decay = param.momentum2, param.rms_decay
        self.history = [
            torch.zeros_like(p, memory_format=torch.contiguous_format)
            for _ in range(self.histories)
            for p in params
        ]
        if not self.uses_momentum and param.momentum:
            raise PrototxtError(
                f"{source}: momentum: Momentum cannot be used with {self.name}; found {param.momentum:g}"
            )

    def step(self, diffs: Tensors, rates: list[float], iteration: int) -> None:
        """Turn ``diffs`` into steps, in place; ``rates`` are the parameters' own learning rates."""
        raise NotImplementedError

    def move_to(self, device: torch.device) -> None:
        """Follow a change of ``caffe.set_mode_*``."""
        if self.history and self.history[0].device != device:
            self.history = [tensor.to(device) for tensor in self.history]

    def _part(self, k: int) -> Tensors:
        size = len(self.history) // self.histories
        return self.history[k * size : (k + 1) * size]


class SGD(Update):
    """``h = rate g + momentum h``; step ``h``."""

    name = "SGD"

    def step(self, diffs: Tensors, rates: list[float], iteration: int) -> None:
        _scale(diffs, rates)
        _scale(self.history, [self.momentum] * len(self.history))
        torch._foreach_add_(self.history, diffs)
        torch._foreach_copy_(diffs, self.history)


class Nesterov(Update):
    """``h' = rate g + momentum h``; step ``(1 + momentum) h' - momentum h``."""

    name = "Nesterov"

    def step(self, diffs: Tensors, rates: list[float], iteration: int) -> None:
        before = [history.clone() for history in self.history]
        _scale(before, [self.momentum] * len(before))
        _scale(diffs, rates)
        torch._foreach_copy_(self.history, torch._foreach_add(diffs, before))
        torch._foreach_copy_(diffs, self.history)
        torch._foreach_mul_(diffs, 1 + self.momentum)
        torch._foreach_sub_(diffs, before)


class AdaGrad(Update):
    """``h += g^2``; step ``rate g / (sqrt(h) + delta)``."""

    name = "AdaGrad"
    uses_momentum = False

    def step(self, diffs: Tensors, rates: list[float], iteration: int) -> None:
        torch._foreach_addcmul_(self.history, diffs, diffs)
        _divide_by_root(diffs, self.history, self.delta)
        _scale(diffs, rates)


class RMSProp(Update):
    """``h = rms_decay h + (1 - rms_decay) g^2``; step ``rate g / (sqrt(h) + delta)``."""

    name = "RMSProp"
    uses_momentum = False

    def __init__(self, param: Any, source: str, params: Tensors) -> None:
        super().__init__(param, source, params)
        if not 0 <= param.rms_decay < 1:
            raise PrototxtError(f"{source}: rms_decay should lie between 0 and 1, found {param.rms_decay:g}")

    def step(self, diffs: Tensors, rates: list[float], iteration: int) -> None:
        _decay_square(self.history, diffs, self.rms_decay)
        _divide_by_root(diffs, self.history, self.delta)
        _scale(diffs, rates)


class AdaDelta(Update):
    """Squared gradients and squared steps, both decayed by ``momentum``; step ``rate g sqrt((d + u) /
    (d + h))``.
    """

    name = "AdaDelta"
    histories = 2

    def step(self, diffs: Tensors, rates: list[float], iteration: int) -> None:
        squares, updates = self._part(0), self._part(1)
        _decay_square(squares, diffs, self.momentum)
        ratio = torch._foreach_div(
            torch._foreach_add(updates, self.delta), torch._foreach_add(squares, self.delta)
        )
        torch._foreach_sqrt_(ratio)
        torch._foreach_mul_(diffs, ratio)
        _decay_square(updates, diffs, self.momentum)
        _scale(diffs, rates)


class Adam(Update):
    """``m``, ``v`` decayed by momentum and momentum2; step ``rate c m / (sqrt(v) + delta)``, c the
    bias correction.
    """

    name = "Adam"
    histories = 2

    def __init__(self, param: Any, source: str, params: Tensors) -> None:
        super().__init__(param, source, params)
        if not (0 <= self.momentum < 1 and 0 <= self.momentum2 < 1):
            raise PrototxtError(
                f"{source}: momentum, momentum2: Adam needs them from 0 to below 1, found {self.momentum:g} "
                f"and {self.momentum2:g}"
            )

    def step(self, diffs: Tensors, rates: list[float], iteration: int) -> None:
        mean, square = self._part(0), self._part(1)
        t = iteration + 1
        correction = math.sqrt(1 - self.momentum2**t) / (1 - self.momentum**t)
        torch._foreach_mul_(mean, self.momentum)
        torch._foreach_add_(mean, diffs, alpha=1 - self.momentum)
        _decay_square(square, diffs, self.momentum2)
        torch._foreach_copy_(diffs, mean)
        _divide_by_root(diffs, square, self.delta)
        _scale(diffs, [rate * correction for rate in rates])


def _scale(values: Tensors, factors: list[float]) -> None:
    """Multiply in place; a factor of 0 gives 0 even for NaN, as in BVLC Caffe."""
    torch._foreach_mul_(values, factors)
    for tensor, factor in zip(values, factors):
        if factor == 0:
            tensor.zero_()


def _decay_square(history: Tensors, values: Tensors, decay: float) -> None:
    torch._foreach_mul_(history, decay)
    torch._foreach_addcmul_(history, values, values, value=1 - decay)


def _divide_by_root(diffs: Tensors, squares: Tensors, delta: float) -> None:
    root = torch._foreach_sqrt(squares)
    torch._foreach_add_(root, delta)
    torch._foreach_div_(diffs, root)


UPDATES: dict[str, type[Update]] = {
    cls.name: cls for cls in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam)
}
