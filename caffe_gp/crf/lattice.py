"""Gaussian filtering of values at scattered points: the permutohedral lattice (Adams, Baek, Davis; 2010).

    lattice = Permutohedral(features)        # (n, d): positions divided by their standard deviations
    blurred = lattice.filter(values)         # (n, C), about sum_j exp(-|f_i - f_j|^2 / 2) v_j
    adjoint = lattice.adjoint(values)        # the transposed matrix

The cost grows with n * d^2, not with n^2: points are splatted with barycentric weights onto the corners of
their simplex, the corners are blurred along the d + 1 lattice directions, and the result is sliced back to
the points. Sums come out too large or too small by a factor that all channels of a point share, so callers
divide by filtered ones. The three steps are methods too: channels can be mixed between them, on the corners,
of which there are fewer.

numba compiles the kernels on first use, keeps them on disk and runs them on all cores, or on as many as
OMP_NUM_THREADS says; the result does not depend on how many there are. No BLAS in here: its idle threads
would keep the cores from ours.
"""

from __future__ import annotations

import math
from typing import Tuple

import numpy as np

from caffe_gp.compiled import CACHE, njit, prange

# Values travel through the lattice in groups of eight floats, one vector register.
LANES = 8
# float32 does not tell neighbouring lattice points apart much further from the origin.
FARTHEST = 1e5
POINTS_A_BAND = 8192


def padded(channels: int) -> int:
    """``channels`` rounded up to whole groups of LANES."""
    return -(-channels // LANES) * LANES


class Permutohedral:
    """The lattice of one set of points.

    features   (n, d) float32, d >= 1, each column divided by its standard deviation

    ``points`` is n, ``dimensions`` d, ``vertices`` the number of lattice points that the features touch and
    ``weight`` (n, d + 1) the barycentric weight of each point at the corners of its simplex. ValueError for a
    wrong shape and for features that are not finite or more than FARTHEST from the origin.
    """

    def __init__(self, features: np.ndarray) -> None:
        features = np.ascontiguousarray(features, np.float32)
        if features.ndim != 2 or features.shape[1] < 1:
            raise ValueError(f"features have shape (n, d) with d >= 1, found {features.shape}")
        if not (np.abs(features) <= FARTHEST).all():
            raise ValueError(f"features must be finite and at most {FARTHEST:g} standard deviations from 0")
        self.points, d = features.shape
        self.dimensions = d
        keys = np.empty((self.points, d + 1, d), np.int32)
        self.weight = np.empty((self.points, d + 1), np.float32)
        _embed(features, _scales(d), keys, self.weight)
        vertex, found, table = _number(keys.reshape(-1, d))
        self._vertex = vertex.reshape(self.points, d + 1)
        self.vertices = len(found)
        # Row ``vertices`` stands for every corner that no point touches: always zero.
        self._neighbours = np.full((d + 1, self.vertices, 2), self.vertices, np.int32)
        _link(found, table, self._neighbours)
        # Splatting goes band by band of points, each onto rows of its own, so that threads do not meet.
        self._bands = max(1, self.points // POINTS_A_BAND)
        self._row, vertex_of_row, self._band_start = _rows_of_bands(self._vertex, self._bands, self.vertices)
        self._start, self._rows = _by_vertex(vertex_of_row, self.vertices)
        self._memory: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def splat(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Values of the points (n, C) gathered at the corners: (vertices + 1, C), the last row zero.

        ``weight`` (n, d + 1) is ``self.weight``, or it with a factor for each point. C is a multiple of LANES
        here and in the other steps; everything is contiguous float32. What this and the next two steps return
        is the lattice's own memory, overwritten by its next step.
        """
        if self._memory is None or self._memory[0].shape[1] != values.shape[1]:
            parts = np.empty((self._band_start[-1], values.shape[1]), np.float32)
            corners = np.zeros((2, self.vertices + 1, values.shape[1]), np.float32)
            self._memory = parts, corners[0], corners[1]
        parts, rows, _ = self._memory
        _splat(_grouped(values), self._row, weight, self._band_start, _grouped(parts))
        _add_up(_grouped(parts), self._start, self._rows, _grouped(rows))
        return rows

    def blur(self, rows: np.ndarray, reverse: bool = False) -> np.ndarray:
        """Values of the corners blurred along every lattice direction.

        Each direction's blur is symmetric, so the opposite order (``reverse``) is the exact transpose.
        """
        for neighbours in self._neighbours[::-1] if reverse else self._neighbours:
            other = self._other(rows)
            _blur(_grouped(rows), neighbours, _grouped(other))
            rows = other
        return rows

    def mix(self, rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """rows @ matrix, with a matrix (C, C)."""
        other = self._other(rows)
        _mix(rows, _grouped(matrix), _grouped(other))
        return other

    def _other(self, rows: np.ndarray) -> np.ndarray:
        assert self._memory is not None
        return self._memory[2 if rows is self._memory[1] else 1]

    def slice(self, rows: np.ndarray, weight: np.ndarray, onto: np.ndarray) -> np.ndarray:
        """Adds to ``onto`` (n, C) what the corners hold, times ``weight`` (n, d + 1); returns ``onto``."""
        _slice(_grouped(rows), self._vertex, weight, _grouped(onto))
        return onto

    def sums(self) -> np.ndarray:
        """What ``filter`` makes of ones: (n, 1)."""
        return self.filter(np.ones((self.points, 1), np.float32))

    def filter(self, values: np.ndarray) -> np.ndarray:
        """(n, C) float32 -> (n, C) float32, any C."""
        return self._all_steps(values, reverse=False)

    def adjoint(self, values: np.ndarray) -> np.ndarray:
        """The transpose of ``filter``."""
        return self._all_steps(values, reverse=True)

    def _all_steps(self, values: np.ndarray, reverse: bool) -> np.ndarray:
        values = np.asarray(values, np.float32)
        if values.ndim != 2 or len(values) != self.points:
            raise ValueError(f"values have shape ({self.points}, C), found {values.shape}")
        channels = values.shape[1]
        wide = np.zeros((self.points, padded(channels)), np.float32)
        wide[:, :channels] = values
        rows = self.blur(self.splat(wide, self.weight), reverse)
        wide[:] = 0
        return np.ascontiguousarray(self.slice(rows, self.weight, wide)[:, :channels])


def outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a.T @ b of rows (n, C) each: (C, C), summed in an order that does not depend on the threads."""
    chunks = max(1, len(a) // POINTS_A_BAND)
    parts = np.zeros((chunks, a.shape[1], b.shape[1]), np.float32)
    _outer(a, _grouped(b), parts.reshape(chunks, a.shape[1], -1, LANES))
    return parts.sum(axis=0)


def _grouped(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1, LANES)


def _scales(d: int) -> np.ndarray:
    """Per axis: makes the lattice's blur a Gaussian of standard deviation 1."""
    i = np.arange(d)
    return ((d + 1) * np.sqrt(2 / 3) / np.sqrt((i + 1.0) * (i + 2.0))).astype(np.float32)


@njit(parallel=True, cache=CACHE, fastmath={"contract"})
def _embed(
    features: np.ndarray, scales: np.ndarray, keys: np.ndarray, weight: np.ndarray
) -> None:  # pragma: no cover - compiled
    """The d + 1 corners of every point's simplex (their first d coordinates) and its barycentric weights."""
    n, d = features.shape
    for i in prange(n):
        elevated = np.empty(d + 1, np.float32)
        nearest = np.empty(d + 1, np.int32)  # a lattice point: all coordinates multiples of d + 1
        rank = np.zeros(d + 1, np.int32)
        total = np.float32(0)
        for j in range(d, 0, -1):
            scaled = features[i, j - 1] * scales[j - 1]
            elevated[j] = total - j * scaled
            total += scaled
        elevated[0] = total
        excess = 0
        for j in range(d + 1):
            whole = int(math.floor(elevated[j] / np.float32(d + 1) + np.float32(0.5)))
            nearest[j] = whole * (d + 1)
            excess += whole
        for j in range(d):
            for k in range(j + 1, d + 1):
                if elevated[j] - nearest[j] < elevated[k] - nearest[k]:
                    rank[j] += 1
                else:
                    rank[k] += 1
        # Back onto the plane where coordinates sum to zero.
        for j in range(d + 1):
            rank[j] += excess
            if rank[j] < 0:
                rank[j] += d + 1
                nearest[j] += d + 1
            elif rank[j] > d:
                rank[j] -= d + 1
                nearest[j] -= d + 1
        barycentric = np.zeros(d + 2, np.float32)
        for j in range(d + 1):
            share = (elevated[j] - nearest[j]) / np.float32(d + 1)
            barycentric[d - rank[j]] += share
            barycentric[d + 1 - rank[j]] -= share
        barycentric[0] += np.float32(1) + barycentric[d + 1]
        for corner in range(d + 1):
            weight[i, corner] = barycentric[corner]
            for j in range(d):
                step = corner if rank[j] <= d - corner else corner - (d + 1)
                keys[i, corner, j] = nearest[j] + step


@njit(inline="always")
def _slot(key: np.ndarray, size_mask: int) -> np.int64:  # pragma: no cover - compiled
    code = np.uint64(1469598103934665603)
    for j in range(len(key)):
        code = (code ^ np.uint64(np.uint32(key[j]))) * np.uint64(1099511628211)
    code ^= code >> np.uint64(29)
    return np.int64(code & np.uint64(size_mask))


@njit(inline="always")
def _find(key: np.ndarray, found: np.ndarray, table: np.ndarray) -> np.int64:  # pragma: no cover - compiled
    """Number of the vertex with this key, or ~slot where it would be entered."""
    mask = len(table) - 1
    slot = _slot(key, mask)
    while True:
        vertex = table[slot]
        if vertex < 0:
            return ~slot
        same = True
        for j in range(len(key)):
            if found[vertex, j] != key[j]:
                same = False
                break
        if same:
            return np.int64(vertex)
        slot = (slot + 1) & mask


@njit(cache=CACHE)
def _number(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # pragma: no cover - compiled
    """Vertices numbered as they first appear: number of every key, the distinct keys, their hash table."""
    n, d = keys.shape
    capacity = 1 << 12
    table = np.full(2 * capacity, -1, np.int32)
    found = np.empty((capacity, d), np.int32)
    vertex = np.empty(n, np.int32)
    count = 0
    for i in range(n):
        at = _find(keys[i], found, table)
        if at < 0:
            if count == capacity:
                capacity *= 2
                table = np.full(2 * capacity, -1, np.int32)
                grown = np.empty((capacity, d), np.int32)
                grown[:count] = found
                found = grown
                for v in range(count):
                    table[~_find(found[v], found, table)] = v
                at = _find(keys[i], found, table)
            table[~at] = count
            found[count] = keys[i]
            at = np.int64(count)
            count += 1
        vertex[i] = at
    return vertex, found[:count].copy(), table


@njit(parallel=True, cache=CACHE, fastmath={"contract"})
def _link(
    found: np.ndarray, table: np.ndarray, neighbours: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Both neighbours of every vertex along every axis; entries of missing ones are left as they are."""
    count, d = found.shape
    for axis in prange(d + 1):
        key = np.empty(d, np.int32)
        for v in range(count):
            for j in range(d):
                key[j] = found[v, j] + 1
            if axis < d:
                key[axis] = found[v, axis] - d
            at = _find(key, found, table)
            if at >= 0:
                neighbours[axis, v, 0] = at
                neighbours[axis, at, 1] = v


@njit(cache=CACHE)
def _rows_of_bands(
    vertex: np.ndarray, bands: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # pragma: no cover - compiled
    """One row for each vertex that a band of points touches: rows of the corners, vertices of the rows, and
    where each band's rows start."""
    n, corners = vertex.shape
    band_of_latest = np.full(count, -1, np.int32)
    latest = np.empty(count, np.int32)
    row = np.empty((n, corners), np.int32)
    vertex_of_row = np.empty(n * corners, np.int32)
    start = np.zeros(bands + 1, np.int64)
    rows = 0
    for band in range(bands):
        for i in range(n * band // bands, n * (band + 1) // bands):
            for c in range(corners):
                v = vertex[i, c]
                if band_of_latest[v] != band:
                    band_of_latest[v] = band
                    latest[v] = rows
                    vertex_of_row[rows] = v
                    rows += 1
                row[i, c] = latest[v]
        start[band + 1] = rows
    return row, vertex_of_row[:rows].copy(), start


@njit(cache=CACHE)
def _by_vertex(
    vertex_of_row: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover - compiled
    """The rows of every vertex, in their order: where its list starts, and the rows."""
    start = np.zeros(count + 1, np.int64)
    for v in vertex_of_row:
        start[v + 1] += 1
    for v in range(count):
        start[v + 1] += start[v]
    fill = start[:-1].copy()
    rows = np.empty(len(vertex_of_row), np.int32)
    for r in range(len(vertex_of_row)):
        v = vertex_of_row[r]
        rows[fill[v]] = r
        fill[v] += 1
    return start, rows


# The eight lanes of a group travel as a tuple, which LLVM keeps in one vector register. In a loop over the
# lanes of two arrays it would not dare: for all it knows the arrays overlap.
Lanes = Tuple[np.float32, ...]
_ZEROS = (np.float32(0),) * LANES


@njit(inline="always")
def _load(row: np.ndarray) -> Lanes:  # pragma: no cover - compiled
    return row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]


@njit(inline="always")
def _store(row: np.ndarray, s: Lanes) -> None:  # pragma: no cover - compiled
    row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7] = s


@njit(inline="always")
def _add(s: Lanes, w: np.float32, x: Lanes) -> Lanes:  # pragma: no cover - compiled
    """s + w x."""
    return (
        s[0] + w * x[0],
        s[1] + w * x[1],
        s[2] + w * x[2],
        s[3] + w * x[3],
        s[4] + w * x[4],
        s[5] + w * x[5],
        s[6] + w * x[6],
        s[7] + w * x[7],
    )


@njit(parallel=True, cache=CACHE, fastmath={"contract"})
def _splat(
    values: np.ndarray, row: np.ndarray, weight: np.ndarray, band_start: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover - compiled
    n, corners = row.shape
    bands = len(band_start) - 1
    for band in prange(bands):
        for r in range(band_start[band], band_start[band + 1]):
            for g in range(values.shape[1]):
                _store(out[r, g], _ZEROS)
        for i in range(n * band // bands, n * (band + 1) // bands):
            for g in range(values.shape[1]):
                x = _load(values[i, g])
                for c in range(corners):
                    at = out[row[i, c], g]
                    _store(at, _add(_load(at), weight[i, c], x))


@njit(parallel=True, cache=CACHE, fastmath={"contract"})
def _add_up(
    parts: np.ndarray, start: np.ndarray, rows: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover - compiled
    one = np.float32(1)
    for v in prange(len(start) - 1):
        for g in range(parts.shape[1]):
            s = _ZEROS
            for k in range(start[v], start[v + 1]):
                s = _add(s, one, _load(parts[rows[k], g]))
            _store(out[v, g], s)


@njit(parallel=True, cache=CACHE, fastmath={"contract"})
def _blur(values: np.ndarray, neighbours: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover - compiled
    half = np.float32(0.5)
    for v in prange(len(neighbours)):
        for g in range(values.shape[1]):
            s = _load(values[v, g])
            s = _add(s, half, _load(values[neighbours[v, 0], g]))
            _store(out[v, g], _add(s, half, _load(values[neighbours[v, 1], g])))


@njit(parallel=True, cache=CACHE, fastmath={"contract"})
def _slice(
    values: np.ndarray, vertex: np.ndarray, weight: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover - compiled
    for i in prange(len(vertex)):
        for g in range(values.shape[1]):
            s = _load(out[i, g])
            for c in range(vertex.shape[1]):
                s = _add(s, weight[i, c], _load(values[vertex[i, c], g]))
            _store(out[i, g], s)


@njit(parallel=True, cache=CACHE, fastmath={"contract"})
def _mix(values: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover - compiled
    for v in prange(len(values)):
        for g in range(matrix.shape[1]):
            s = _ZEROS
            for k in range(values.shape[1]):
                s = _add(s, values[v, k], _load(matrix[k, g]))
            _store(out[v, g], s)


@njit(parallel=True, cache=CACHE, fastmath={"contract"})
def _outer(a: np.ndarray, b: np.ndarray, parts: np.ndarray) -> None:  # pragma: no cover - compiled
    chunks = len(parts)
    for chunk in prange(chunks):
        for v in range(len(a) * chunk // chunks, len(a) * (chunk + 1) // chunks):
            for g in range(b.shape[1]):
                x = _load(b[v, g])
                for k in range(a.shape[1]):
                    at = parts[chunk, k, g]
                    _store(at, _add(_load(at), a[v, k], x))
