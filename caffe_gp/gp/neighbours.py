"""Exact nearest neighbours by Euclidean distance, from blocked matrix products.

|q - b|^2 = |q|^2 - 2 q.b + |b|^2 makes the search one matrix product, in float32 and on any device. Its
rounding would shuffle near ties, so the product only chooses candidates: all vectors that can be among the
nearest, given a bound of its error. Their distances are then computed in float64, difference by difference.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from caffe_gp.errors import DataError

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]

_BLOCK_BYTES = 1 << 26  # of one block of products
_GROUP = 64  # values whose minimum is taken first, which is faster than to select among them all
_UNIT = 2.0**-24  # rounding of float32


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
        norms = np.einsum("ij,ij->i", bank, bank, dtype=np.float64)
        self._norms, self._largest = norms.astype(np.float32), float(np.sqrt(norms.max()))

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
        lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64))
        # Of |b|^2 - 2 q.b: the product's error, twice, and the rounding of |b|^2 and of the sum.
        error = 2 * (bank.shape[1] + 2) * lengths * self._largest + 2 * self._largest**2
        error *= 1.01 * _UNIT
        rows = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k), np.float64)
        step = max(1, _BLOCK_BYTES // (4 * len(bank)))
        for first in range(0, len(queries), step):
            block = slice(first, first + step)
            scores = self._product(-2 * queries[block], bank.T)
            scores += self._norms
            reach = _about_kth(scores, k) + 2 * error[block]
            for i, (row, limit) in enumerate(zip(scores, reach), first):
                candidates = np.flatnonzero(row <= limit)
                found = _squared_distances(bank, candidates, queries[i])
                order = np.lexsort((candidates, found))[:k]
                rows[i], distances[i] = candidates[order], np.sqrt(found[order])
        return rows, distances


def majority(classes: np.ndarray) -> np.ndarray:
    """The commonest class of each row of (N, k) integers; of equally common ones the first to appear."""
    same = classes[:, :, np.newaxis] == classes[:, np.newaxis, :]
    return classes[np.arange(len(classes)), same.sum(axis=2).argmax(axis=1)]


def _about_kth(scores: np.ndarray, k: int) -> np.ndarray:
    """A number for each row that at least k of its values do not exceed, mostly just k: (rows,)."""
    groups = scores.shape[1] // _GROUP
    if groups >= k:  # k groups hold a value of at most the k-th smallest of their minima
        scores = scores[:, : groups * _GROUP].reshape(len(scores), _GROUP, groups).min(axis=1)
    return np.partition(scores, k - 1, axis=1)[:, k - 1]


def _squared_distances(bank: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Sums of squares in float64; equal vectors get equal sums."""
    step = max(1, _BLOCK_BYTES // (8 * bank.shape[1]))
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
