"""How a diff becomes a direction to move the blob in."""

from __future__ import annotations

from typing import Callable, Union

import numpy as np

from caffe_gp.errors import NetError, UsageError, check_array, did_you_mean

STEPS = ("sign", "gradient")
Step = Union[str, Callable[[np.ndarray], np.ndarray]]


def check_step(step: Step) -> None:
    """UsageError for anything but one of STEPS or a function."""
    if not callable(step) and step not in STEPS:
        hint = did_you_mean(step, STEPS) if isinstance(step, str) else ""
        raise UsageError(
            f"unknown step {step!r}{hint} (known: {', '.join(STEPS)}, or a function of the diff)"
        )


def direction(step: Step, diff: np.ndarray) -> np.ndarray:
    """The direction of each image, in the shape of ``diff``, which is (N, ...) float32.

    sign       sign(diff), int8: the paper's
    gradient   diff divided by its root mean square over the image, float32: as long as signs everywhere
    a function of ``diff`` that gives floating-point numbers of its shape
    Raises NetError where what the function gives is not finite, DataError for another shape.
    """
    if callable(step):
        found = step(diff)
        check_array(found, "what the step's function gives", "f", diff.shape)
        if not np.isfinite(found).all():
            raise NetError("what the step's function gives holds NaN or infinite values")
        return found.astype(np.float32)
    if step == "sign":
        return np.sign(diff).astype(np.int8)
    if np.isinf(diff).any():
        raise NetError("the blob's diff holds infinite values: gradients overflow in this net")
    axes = tuple(range(1, diff.ndim))
    # Of the largest value first: squares of gradients may underflow.
    largest = np.abs(diff).max(axes, keepdims=True, initial=0)
    scaled = diff / np.where(largest > 0, largest, 1)
    length = np.sqrt(np.square(scaled, dtype=np.float64).mean(axes, keepdims=True))
    return (scaled / np.where(length > 0, length, 1)).astype(np.float32)
