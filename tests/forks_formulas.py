"""What layers of segmentation and classification forks compute, in float64 and written out in loops."""

from __future__ import annotations

from typing import Sequence

import numpy as np

Pair = Sequence[int]


def axpy(a: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return a.reshape(a.shape[0], a.shape[1], 1, 1) * x + y


def shuffled(x: np.ndarray, group: int) -> np.ndarray:
    """Output channel j * group + i is input channel i * (C / group) + j."""
    y, size = np.empty_like(x), x.shape[1] // group
    for i in range(group):
        for j in range(size):
            y[:, j * group + i] = x[:, i * size + j]
    return y


def relu6(x: np.ndarray, slope: float = 0.0) -> np.ndarray:
    return np.minimum(np.maximum(x, 0) + np.float32(slope) * np.minimum(x, 0), 6)


def mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0))


def from_mask(values: np.ndarray, mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Values at their places, in raster order, so that the last of equal places wins."""
    y = np.zeros((*values.shape[:2], height * width))
    for n, c in np.ndindex(*values.shape[:2]):
        for value, place in zip(values[n, c].ravel(), mask[n, c].ravel().astype(int)):
            y[n, c, place] = value
    return y.reshape(*values.shape[:2], height, width)


def at_mask(dy: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The diffs at the places of a mask."""
    n, c = mask.shape[:2]
    found = np.take_along_axis(dy.reshape(n, c, -1), mask.reshape(n, c, -1).astype(int), 2)
    return found.reshape(mask.shape)


def repeated(x: np.ndarray, scale: int) -> np.ndarray:
    rows, columns = (np.arange(n * scale) // scale for n in x.shape[2:])
    return x[:, :, rows][:, :, :, columns]


def windows(count: int, kernel: int, stride: int, size: int) -> list[range]:
    return [range(i * stride, min(i * stride + kernel, size)) for i in range(count)]


def spread(x: np.ndarray, kernel: Pair, stride: Pair, size: Pair, method: str) -> np.ndarray:
    """Unpooling AVE and TILE."""
    y = np.zeros((*x.shape[:2], *size))
    for i, rows in enumerate(windows(x.shape[2], kernel[0], stride[0], size[0])):
        for j, columns in enumerate(windows(x.shape[3], kernel[1], stride[1], size[1])):
            cells = len(rows) * len(columns)
            for r in rows:
                for c in columns:
                    y[:, :, r, c] += x[:, :, i, j] / (cells if method == "AVE" else 1)
    return y


def means(dy: np.ndarray, kernel: Pair, stride: Pair, shape: Sequence[int]) -> np.ndarray:
    """Backward of both in the fork: the mean of the diffs over each window."""
    dx = np.zeros(shape)
    for i, rows in enumerate(windows(shape[2], kernel[0], stride[0], dy.shape[2])):
        for j, columns in enumerate(windows(shape[3], kernel[1], stride[1], dy.shape[3])):
            if len(rows) * len(columns):
                dx[:, :, i, j] = dy[:, :, list(rows)][:, :, :, list(columns)].mean((2, 3))
    return dx


def at_beginnings(x: np.ndarray, stride: Pair, size: Pair) -> np.ndarray:
    """Unpooling MAX without a mask: the last of those that meet wins."""
    y = np.zeros((*x.shape[:2], *size))
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            y[:, :, min(i * stride[0], size[0] - 1), min(j * stride[1], size[1] - 1)] = x[:, :, i, j]
    return y


def from_beginnings(dy: np.ndarray, stride: Pair, shape: Sequence[int]) -> np.ndarray:
    """The diffs at the places to which each value went."""
    dx = np.zeros(shape)
    for i in range(shape[2]):
        for j in range(shape[3]):
            dx[:, :, i, j] = dy[
                :, :, min(i * stride[0], dy.shape[2] - 1), min(j * stride[1], dy.shape[3] - 1)
            ]
    return dx


#: kernel, stride, size of the top, for a bottom of 3 x 4
GEOMETRIES = [
    ((2, 2), (2, 2), (6, 8)),
    ((3, 2), (2, 1), (7, 5)),  # windows overlap
    ((1, 2), (3, 3), (9, 12)),  # gaps between them
    ((3, 3), (2, 2), (4, 4)),  # the last ones reach beyond the plane, or lie outside
    ((5, 9), (1, 1), (3, 4)),
    ((7, 13), (2, 3), (12, 21)),
    ((2, 2), (2, 2), (11, 13)),  # a rest of the plane is never reached
    ((2, 2), (50, 2**31), (6, 8)),  # one row and one column of windows
    ((4294967295, 1), (1, 1), (5, 6)),
]


def normalised(x: np.ndarray, eps: float) -> np.ndarray:
    """By the mean and the variance of each channel."""
    mean, square = x.mean((0, 2, 3), keepdims=True), (x**2).mean((0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(square - mean**2 + eps)


def through_statistics(g: np.ndarray, hat: np.ndarray, inverse_std: np.ndarray) -> np.ndarray:
    """What a batch normalisation hands on of ``g``, the diff of its normalised values ``hat``."""
    mean = g.mean((0, 2, 3), keepdims=True)
    return (g - mean - hat * (g * hat).mean((0, 2, 3), keepdims=True)) * inverse_std
