"""Seeded values for inputs and parameters, the same on every machine."""

from __future__ import annotations

from typing import Sequence

import numpy as np


def values(scheme: str, shape: Sequence[int], random: np.random.RandomState) -> np.ndarray:
    """Values by scheme, a kind with an argument or none: 'gauss', 'gauss 0.5', 'ties', 'ints 5', ..."""
    kind, _, argument = scheme.partition(" ")
    array: np.ndarray
    if kind == "gauss":
        array = random.randn(*shape) * float(argument or 1)
    elif kind == "positive":  # away from zero
        array = np.abs(random.randn(*shape)) * 0.3 + 0.05
    elif kind == "ties":  # few different values, so that maxima tie
        array = random.randint(0, 3, shape)
    elif kind == "ints":
        array = random.randint(0, int(argument), shape)
    elif kind == "labels":  # 'labels N IGNORED': ints below N with about a fifth ignored
        classes, ignored = map(int, argument.split())
        array = random.randint(0, classes, shape)
        array = np.where(random.rand(*shape) < 0.2, ignored, array)
    elif kind == "holes":  # with what is no number, as a diverging net makes it
        array = random.randn(*shape)
        array.flat[::5], array.flat[2::7], array.flat[3::11] = np.nan, np.inf, -np.inf
    elif kind == "const":
        array = np.full(shape, float(argument))
    elif kind == "alternate":
        array = (np.arange(int(np.prod(shape))) % 2).reshape(shape)
    elif (
        kind == "continue"
    ):  # the continuation marks of a recurrent net, (time, batch): sequences start now and then
        array = (random.rand(*shape) > 0.3).astype(float)
        array[0] = 0
    elif kind == "image":  # grey levels with a mean subtracted
        array = random.randint(0, 256, shape) - 110.0
    elif kind == "count":
        array = np.arange(int(np.prod(shape))).reshape(shape)
    else:
        raise ValueError(f"unknown scheme {scheme!r}")
    return np.asarray(array, np.float32)


def default_param(layer_type: str, index: int, shape: Sequence[int]) -> str:
    """The scheme of a parameter blob: keeps activations of order one through deep nets."""
    if layer_type == "BatchNorm":
        return ("gauss", "positive", "const 3.5")[index]
    if len(shape) >= 2:
        fan_in = max(1, int(np.prod(shape[1:])))
        return "gauss %.9g" % (1.0 / np.sqrt(fan_in))
    return "gauss 0.5"
