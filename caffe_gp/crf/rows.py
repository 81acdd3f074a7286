"""Arrays as the mean field wants them: one row a pixel, classes side by side, filled up to whole LANES.

``Rows`` is all that the mean field asks of its arrays. ``NumpyRows`` is for numpy arrays; the embedded Caffe
has its own for tensors.
"""

from __future__ import annotations

import math
from typing import Protocol, Sequence

import numpy as np

from caffe_gp.compiled import CACHE, njit, prange
from caffe_gp.crf.kernels import Array, Kernel, bilateral_features, spatial_features
from caffe_gp.crf.lattice import Permutohedral, outer, padded


class Rows(Protocol):
    """A kind of arrays, and what the mean field needs to do with them.

    ``Array`` is numpy's ndarray or an engine's own: what slicing and arithmetic mean is the same.
    """

    def array(self, values: np.ndarray) -> Array:
        """A numpy array as this kind of array."""

    def numpy(self, values: Array) -> np.ndarray:
        """The way back."""

    def spatial_kernel(
        self, height: int, width: int, deviation: float, normalization: str = "after"
    ) -> Kernel:
        """Over the pixels of an image of this size."""

    def bilateral_kernel(
        self, image: Array, deviation: float, colour_deviation: float, normalization: str = "after"
    ) -> Kernel:
        """Over the pixels of ``image`` (C, H, W)."""

    def rows(self, maps: Array) -> Array:
        """(L, H, W) -> (H * W, at least L) float32, zeros in the columns beyond L."""

    def maps(self, rows: Array, shape: Sequence[int]) -> Array:
        """The way back, to ``shape`` = (L, H, W)."""

    def stack(self, maps: Sequence[Array]) -> Array:
        """(L, H, W) each -> (N, L, H, W)."""

    def matrix(self, matrix: Array) -> Array:
        """(L, L) -> a square as wide as the rows, zeros around."""

    def empty_like(self, rows: Array) -> Array:
        """Rows to be written."""

    def copy(self, rows: Array, into: Array) -> None:
        """into <- rows."""

    def softmax(self, rows: Array, classes: int, into: Array) -> None:
        """into <- softmax of every row over its first ``classes`` columns; 0 in the others."""

    def softmax_backward(self, probabilities: Array, diff: Array) -> None:
        """diff <- p o (diff - p . diff): the softmax's input diff from that of its output."""

    def outer(self, a: Array, b: Array) -> Array:
        """a.T @ b."""


class NumpyRows:
    """``Rows`` of numpy arrays, LANES wide or a multiple, with the compiled lattice."""

    @staticmethod
    def array(values: np.ndarray) -> np.ndarray:
        return values

    @staticmethod
    def numpy(values: np.ndarray) -> np.ndarray:
        return values

    @staticmethod
    def spatial_kernel(height: int, width: int, deviation: float, normalization: str = "after") -> Kernel:
        return Kernel(Permutohedral(spatial_features(height, width, deviation)), normalization)

    @staticmethod
    def bilateral_kernel(
        image: np.ndarray, deviation: float, colour_deviation: float, normalization: str = "after"
    ) -> Kernel:
        features = bilateral_features(image, deviation, colour_deviation)
        return Kernel(Permutohedral(features), normalization)

    @staticmethod
    def rows(maps: np.ndarray) -> np.ndarray:
        """(L, H, W) -> (H * W, padded(L)) float32, zeros in the columns beyond L."""
        classes = len(maps)
        rows = np.zeros((maps[0].size, padded(classes)), np.float32)
        rows[:, :classes] = maps.reshape(classes, -1).T
        return rows

    @staticmethod
    def maps(rows: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        return np.ascontiguousarray(rows[:, : shape[0]].T).reshape(shape)

    @staticmethod
    def stack(maps: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(maps)

    @staticmethod
    def matrix(matrix: np.ndarray) -> np.ndarray:
        """(L, L) -> (padded(L), padded(L)), zeros around."""
        wide = np.zeros((padded(len(matrix)),) * 2, np.float32)
        wide[: len(matrix), : len(matrix)] = matrix
        return wide

    @staticmethod
    def empty_like(rows: np.ndarray) -> np.ndarray:
        return np.empty_like(rows)

    @staticmethod
    def copy(rows: np.ndarray, into: np.ndarray) -> None:
        np.copyto(into, rows)

    @staticmethod
    def softmax(rows: np.ndarray, classes: int, into: np.ndarray) -> None:
        _softmax(rows, classes, into)

    @staticmethod
    def softmax_backward(probabilities: np.ndarray, diff: np.ndarray) -> None:
        _softmax_backward(probabilities, diff)

    @staticmethod
    def outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return outer(a, b)


@njit(parallel=True, cache=CACHE, error_model="numpy")
def _softmax(rows: np.ndarray, classes: int, out: np.ndarray) -> None:  # pragma: no cover - compiled
    for i in prange(len(rows)):
        row = rows[i]
        top = row[0]
        for k in range(1, classes):
            top = max(top, row[k])
        total = np.float32(0)
        for k in range(classes):
            value = math.exp(row[k] - top)
            out[i, k] = value
            total += value
        total = np.float32(1) / total
        for k in range(classes):
            out[i, k] *= total
        for k in range(classes, len(row)):
            out[i, k] = 0


@njit(parallel=True, cache=CACHE)
def _softmax_backward(probabilities: np.ndarray, diff: np.ndarray) -> None:  # pragma: no cover - compiled
    for i in prange(len(diff)):
        total = np.float32(0)
        for k in range(diff.shape[1]):
            total += probabilities[i, k] * diff[i, k]
        for k in range(diff.shape[1]):
            diff[i, k] = probabilities[i, k] * (diff[i, k] - total)
