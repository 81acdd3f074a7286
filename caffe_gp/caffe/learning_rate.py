"""The learning rate policies of solvers (SGDSolver::GetLearningRate)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from caffe_gp.errors import NetError

log = logging.getLogger(__name__)


def learning_rate(param: Any, iteration: int, current_step: int) -> tuple[float, int]:
    """The rate at ``iteration``, before any ``lr_mult``, and the step that 'step' and 'multistep' count.

    Raises NetError where the policy's formula has no value: too large, or divided by 0.
    """
    current_step = _next_step(param, iteration, current_step)
    try:
        rate = param.base_lr * POLICIES[param.lr_policy](param, iteration, current_step)
    except ArithmeticError as error:
        raise NetError(
            f"solver: lr_policy '{param.lr_policy}' has no learning rate at iteration {iteration} ({error}): "
            f"base_lr {param.base_lr:g}, gamma {param.gamma:g}, power {param.power:g}, "
            f"max_iter {param.max_iter}, stepsize {param.stepsize}"
        ) from error
    return rate, current_step


def _next_step(param: Any, iteration: int, current_step: int) -> int:
    if param.lr_policy == "step":
        return iteration // param.stepsize
    if param.lr_policy == "multistep":
        values = param.stepvalue
        if current_step < len(values) and iteration >= values[current_step]:
            log.info("MultiStep Status: Iteration %d, step = %d", iteration, current_step + 1)
            return current_step + 1
    return current_step


def _poly(param: Any, iteration: int, step: int) -> float:
    # Caffe has no value beyond max_iter (NaN for most powers); a rate of 0 keeps the weights.
    return max(0.0, 1 - iteration / param.max_iter) ** param.power


def _sigmoid(param: Any, iteration: int, step: int) -> float:
    x = param.gamma * (iteration - param.stepsize)
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))  # neither overflows


#: Factor on ``base_lr`` from the SolverParameter, the iteration and the current step.
POLICIES: dict[str, Callable[[Any, int, int], float]] = {
    "fixed": lambda param, iteration, step: 1.0,
    "step": lambda param, iteration, step: param.gamma**step,
    "exp": lambda param, iteration, step: param.gamma**iteration,
    "inv": lambda param, iteration, step: (1 + param.gamma * iteration) ** -param.power,
    "multistep": lambda param, iteration, step: param.gamma**step,
    "poly": _poly,
    "sigmoid": _sigmoid,
}
