"""Exact nearest neighbours by Euclidean distance, found among shorter vectors that are never further apart.

A vector's shadow is its coordinates along the bank's principal axes, and the length of what these leave out.
Two shadows are never further apart than their vectors: the lengths of two rests differ by no more than the
rests do. So the vectors whose shadows are nearest bound the distances of the nearest vectors, and only the
few whose shadows are within this bound can be among them. Their distances are computed in float64, difference
by difference.

|q - b|^2 = |q|^2 - 2 q.b + |b|^2 makes the search among the shadows one matrix product, in float32 and on any
device. Its rounding is part of the bound.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from caffe_gp.errors import DataError

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]

_BLOCK_BYTES = 1 << 24  # of one block of products, and of one of vectors in float64
_GROUP = 64  # values whose minimum is taken first, which is faster than to select among them all
_AXES = 64  # among 60,000 vectors of LeNet's 500 values they leave ten candidates
_SAMPLE = 512  # vectors from which the axes come
_UNIT = 2.0**-24  # rounding of float32
_TOO_LONG = 2.0**60  # times as long as the bank: all of it is compared, since float32's products have no say


class Neighbours:
    """A bank of vectors to search in.

    bank      (N, D) float32
    product   matrix product of two float32 arrays, accurate to float32's rounding in any order of summation;
              an engine's own can compute it on its device
    """

    def __init__(self, bank: np.ndarray, product: Product = np.matmul) -> None:
        """Raises DataError for an array that is not finite or not what is said above."""
        _check(bank)
        self.bank, self._product = bank, product
        largest = np.sqrt(max(_squared_lengths(part).max() for part in _parts(bank)))
        self._scale = 2.0 ** -int(np.frexp(largest)[1])  # shadows of length 1 at most: no square overflows
        # Vectors that are hardly longer than their shadows stand for themselves.
        self._axes = _principal_axes(bank, self._scale) if bank.shape[1] > 4 * _AXES else None
        self._shadows = np.concatenate([self._cast(part) for part in _parts(bank)])
        self._squares = _squared_lengths(self._shadows).astype(np.float32)

    @np.errstate(over="ignore", invalid="ignore")  # queries far longer than the bank: compared with all of it
    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` nearest vectors to each query: (Q, k) int64 rows of the bank, (Q, k) float64 distances.

        queries   (Q, D) float32
        Nearest first; equal distances in the order of the rows. The result is that of comparing all distances
        in float64. Raises DataError for queries that do not fit, and where the bank holds fewer than k.
        """
        bank = self.bank
        _check(queries, bank.shape[1])
        if not 1 <= k <= len(bank):
            raise DataError(f"{k} nearest neighbours among {len(bank)} vectors")
        rows = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k), np.float64)
        step = max(1, _BLOCK_BYTES // (4 * len(bank)))
        for first in range(0, len(queries), step):
            scores, limits = self._compare(queries[first : first + step])
            near = _about_kth(scores, k)
            for i, query in enumerate(queries[first : first + step]):
                found = _squared_distances(bank, np.flatnonzero(scores[i] <= near[i]), query)
                bound = np.partition(found, k - 1)[k - 1] if len(found) >= k else np.inf
                candidates = np.flatnonzero(~(scores[i] > limits(i, bound)))  # NaN may be anywhere
                found = _squared_distances(bank, candidates, query)
                order = np.lexsort((candidates, found))[:k]
                rows[first + i], distances[first + i] = candidates[order], np.sqrt(found[order])
        return rows, distances

    def _cast(self, vectors: np.ndarray) -> np.ndarray:
        """The shadows (n, values) float32 of vectors (n, D), scaled."""
        found = vectors.astype(np.float64) * self._scale
        if self._axes is not None:
            along = found @ self._axes
            rest = found - along @ self._axes.T
            found = np.column_stack([along, np.sqrt(_squared_lengths(rest))])
        return found.astype(np.float32)

    def _compare(self, queries: np.ndarray) -> tuple[np.ndarray, Callable[[int, float], float]]:
        """|q - b|^2 - |q|^2 of shadows, (Q, N) float32, and what it is at most within a distance.

        The distance is that of the vectors, squared, given with the number of the query.
        """
        shadows = self._cast(queries)
        scores = self._product(-2 * shadows, self._shadows.T)
        scores += self._squares
        squares = _squared_lengths(shadows)
        lengths = np.sqrt(squares)
        # The product's error, the rounding of |b|^2 and of the sum; shadows of the bank are 1 long at most.
        error = 1.01 * _UNIT * (2 * (shadows.shape[1] + 2) * lengths + 2)
        # Rounded shadows are that much further apart than exact ones.
        slack = 2 * _UNIT * (lengths + 1)

        def limit(i: int, squared_distance: float) -> float:
            if lengths[i] > _TOO_LONG:
                return np.inf
            return (np.sqrt(squared_distance) * self._scale + slack[i]) ** 2 - squares[i] + error[i]

        return scores, limit


def majority(classes: np.ndarray) -> np.ndarray:
    """The commonest class of each row of (N, k) integers; of equally common ones the first to appear."""
    same = classes[:, :, np.newaxis] == classes[:, np.newaxis, :]
    return classes[np.arange(len(classes)), same.sum(axis=2).argmax(axis=1)]


def _parts(vectors: np.ndarray) -> list[np.ndarray]:
    """Rows after rows, each so many that they are no large array in float64."""
    step = _rows_at_once(vectors)
    return [vectors[first : first + step] for first in range(0, len(vectors), step)]


def _rows_at_once(vectors: np.ndarray) -> int:
    return max(1, _BLOCK_BYTES // (8 * vectors.shape[1]))


def _principal_axes(bank: np.ndarray, scale: float) -> np.ndarray:
    """Of vectors from all over the bank: (D, axes) float64, orthonormal; about the mean or not is alike."""
    sample = bank[:: -(-len(bank) // _SAMPLE)].astype(np.float64) * scale
    _, weights = np.linalg.eigh(sample @ sample.T)  # in ascending order of what they explain
    axes, _ = np.linalg.qr(sample.T @ weights[:, -_AXES:])
    return axes


def _squared_lengths(vectors: np.ndarray) -> np.ndarray:
    """(n,) float64."""
    return np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)


def _about_kth(scores: np.ndarray, k: int) -> np.ndarray:
    """A number for each row that at least k of its values do not exceed, mostly just k: (rows,)."""
    groups = scores.shape[1] // _GROUP
    if groups >= k:  # k groups hold a value of at most the k-th smallest of their minima
        scores = scores[:, : groups * _GROUP].reshape(len(scores), _GROUP, groups).min(axis=1)
    return np.partition(scores, k - 1, axis=1)[:, k - 1]


def _squared_distances(bank: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Sums of squares in float64; equal vectors get equal sums."""
    step = _rows_at_once(bank)
    found = np.empty(len(rows))
    for first in range(0, len(rows), step):
        difference = bank[rows[first : first + step]].astype(np.float64)
        difference -= query
        difference *= difference
        found[first : first + step] = difference.sum(axis=1)
    return found


def _check(vectors: np.ndarray, size: int | None = None) -> None:
    if vectors.ndim != 2 or size not in (None, vectors.shape[1]) or vectors.dtype != np.float32:
        expected = f"(n, {'D' if size is None else size}) float32"
        raise DataError(f"features of shape {vectors.shape}, {vectors.dtype}: expected {expected}")
    if not len(vectors):
        raise DataError("no features")
    if not np.isfinite(vectors).all():
        raise DataError("features hold NaN or infinite values: check the weights and the scale of the images")
