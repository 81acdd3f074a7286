"""Winograd's convolution for 3 x 3 kernels of stride 1: F(4 x 4, 3 x 3), a quarter of the multiplications.

An output tile of 4 x 4 comes from 36 products of transformed inputs and transformed kernels, where the sum
has 144. Over the channels these are 36 matrix products. The points of the transform are 0, +-2/3, +-3/2 and
infinity: with the usual 0, +-1, +-2 the error would be five times as large. They also come in pairs p, 1/p,
by which the transform of the flipped kernels, which the data gradient needs, is the transposed transform of
the kernels in another order and scale: one set of transformed weights serves both passes.

Tiles of 3 x 3, F(3 x 3, 3 x 3), suit images of 3 or 6 values a side better, as dilations make them: 25
products for 81. Their points are 0, -1, 3/5, 5/3 and infinity.

Images are channels-last. With a dilation the image is d x d interleaved images, each convolved on its own.
Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from caffe_gp.caffe.fast.threads import in_parallel
from caffe_gp.caffe.fast.windows import Window
from caffe_gp.compiled import ANY_ORDER, CACHE, announce, njit

_LANES = 64  # channels that a transform works on at a time: all 36 values of them stay in the nearest cache
_FEW, _MANY = 96, 224  # tiles that go through the three steps together: they should stay in the cache
_FEWEST = 16  # of fewer the libraries make products in another way, with other bits

_A, _B = np.float32(2 / 3), np.float32(3 / 2)
_A2, _B2 = np.float32(4 / 9), np.float32(9 / 4)
_SUM = np.float32(4 / 9 + 9 / 4)
_P, _Q = np.float32(3 / 5), np.float32(5 / 3)
_P_AND_Q, _REST = np.float32(3 / 5 + 5 / 3), np.float32(1 - 3 / 5 - 5 / 3)
_ZERO, _ONE = np.float32(0), np.float32(1)


class _Direction(NamedTuple):
    """What differs between a convolution and its data gradient.

    place    of each point among the products, along one axis; six, of five points the last one twice
    factors  (2, 4): what points count in the outputs. Of tiles of 4 the pairs +-2/3 and +-3/2 in the four; of
             tiles of 3 the points 3/5 and 5/3 in the three (-1 counts 1, -1 and 1)
    """

    place: np.ndarray
    factors: np.ndarray


class Tile(NamedTuple):
    """A size of tiles.

    side       outputs along each axis
    to_kernels (points, 3), float64: the transform of a kernel along an axis
    """

    side: int
    to_kernels: torch.Tensor
    convolution: _Direction
    gradient: _Direction

    @property
    def points(self) -> int:
        """Of the transform, along each axis."""
        return self.side + 2

    def needed(self, size: Sequence[int], dilation: Sequence[int]) -> int:
        """Tiles of an image with so many rows and columns of outputs."""
        return math.prod(-(-n // (self.side * d)) * d for n, d in zip(size, dilation, strict=True))

    def transformed(self, weight: torch.Tensor) -> torch.Tensor:
        """(outputs, channels, 3, 3) -> (points^2, channels, outputs), in float64 and rounded once."""
        g, squared = self.to_kernels, self.points**2
        outputs, channels = weight.shape[:2]
        result = weight.new_empty((squared, channels, outputs))
        for start in range(0, channels, _LANES):  # float64 of all weights at once would be large
            part = weight[:, start : start + _LANES].permute(2, 3, 1, 0).to(torch.float64).flatten(2)
            columns = torch.tensordot(g, part.flatten(1).view(3, 3, -1), dims=([1], [0]))
            both = torch.tensordot(g, columns, dims=([1], [1])).transpose(0, 1)  # (points, points, values)
            result[:, start : start + _LANES] = both.reshape(squared, -1, outputs)
        return result


def _to_kernels(points: Sequence[float]) -> torch.Tensor:
    rows = []
    for p in points:
        scale = math.prod(p - q for q in points if q != p)
        rows.append([1 / scale, p / scale, p * p / scale])
    return torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)


def _tile_of_4() -> Tile:
    a, b = 2 / 3, 3 / 2
    powers = np.array([[p**i for i in range(4)] for p in (a, b)])
    # Flipped kernels take at the point p what the kernels take at 1/p, times these.
    flipped = powers * [[-9 / 4], [-4 / 9]]
    return Tile(
        4,
        _to_kernels((0, a, -a, b, -b)),
        _Direction(np.array([0, 1, 2, 3, 4, 5]), powers.astype(np.float32)),
        _Direction(np.array([5, 3, 4, 1, 2, 0]), flipped.astype(np.float32)),
    )


def _tile_of_3() -> Tile:
    p, q = 3 / 5, 5 / 3
    powers = np.array([[r**i for i in range(3)] + [0] for r in (p, q)])
    flipped = powers * [[-5 / 3], [-3 / 5]]
    return Tile(
        3,
        _to_kernels((0, -1, p, q)),
        _Direction(np.array([0, 1, 2, 3, 4, 4]), powers.astype(np.float32)),
        _Direction(np.array([4, 1, 3, 2, 0, 0]), flipped.astype(np.float32)),
    )


TILE_4, TILE_3 = _tile_of_4(), _tile_of_3()


def tile_for(size: Sequence[int], dilation: Sequence[int]) -> Tile:
    """The one that takes the fewest products for an image with so many rows and columns of outputs.

    Of as many, those of 3 x 3 are larger matrix products, which are faster.
    """
    return min((TILE_3, TILE_4), key=lambda tile: tile.points**2 * tile.needed(size, dilation))


def convolve(
    x: torch.Tensor,
    kernels: torch.Tensor,
    out: torch.Tensor,
    tile: Tile,
    *,
    pad: tuple[int, int],
    dilation: tuple[int, int],
    bias: torch.Tensor | None = None,
    rectify: bool = False,
    window: Window | None = None,
) -> bool:
    """The convolution of ``x`` in ``out``, or in the window of it; False if it has to be computed otherwise.

    x         (N, C, H, W), channels-last
    kernels   weights, ``tile.transformed``
    out       (N, K, H + 2 pad - 2 dilation, ...), channels-last
    bias      (K,)
    rectify   negative results become 0
    False stands for results that are not finite: Winograd's sums spread them over their tile.
    """
    return _run(x, kernels, out, tile, tile.convolution, pad, dilation, bias, rectify, window)


def data_gradient(
    dy: torch.Tensor,
    kernels: torch.Tensor,
    dx: torch.Tensor,
    tile: Tile,
    *,
    pad: tuple[int, int],
    dilation: tuple[int, int],
    window: Window | None = None,
) -> bool:
    """The gradient ``dx`` of the images from that of the outputs, with the convolution's ``pad``.

    See ``convolve``.
    """
    around = (2 * dilation[0] - pad[0], 2 * dilation[1] - pad[1])
    return _run(dy, kernels.transpose(1, 2), dx, tile, tile.gradient, around, dilation, None, False, window)


def workspace(channels: int, outputs: int, tile: Tile, tiles: int, threads: int) -> int:
    """Values that a pass takes besides images and kernels."""
    return tile.points**2 * _block(channels, outputs, tiles) * (channels + outputs) * threads


def _block(channels: int, outputs: int, tiles: int) -> int:
    return max(_FEWEST, min(tiles, _FEW if max(channels, outputs) <= 128 else _MANY))


def _run(
    x: torch.Tensor,
    kernels: torch.Tensor,
    out: torch.Tensor,
    tile: Tile,
    direction: _Direction,
    pad: tuple[int, int],
    dilation: tuple[int, int],
    bias: torch.Tensor | None,
    rectify: bool,
    window: Window | None,
) -> bool:
    channels, outputs = kernels.shape[1:]
    top, bottom, left, right = Window.whole(out.shape) if window is None else window
    # Tiles lie where they lie in the whole image, so that a window's results have the same bits.
    sides = tile.side * dilation[0], tile.side * dilation[1]
    first_row, first_column = top // sides[0] * sides[0], left // sides[1] * sides[1]
    rows, columns = -(-(bottom - first_row) // sides[0]), -(-(right - first_column) // sides[1])
    tiles = x.shape[0] * dilation[0] * dilation[1] * rows * columns
    if tiles <= 0 or top >= bottom or left >= right:
        return True
    block = _block(channels, outputs, tiles)
    images, results = x.permute(0, 2, 3, 1).numpy(), out.permute(0, 2, 3, 1).numpy()
    offsets = np.zeros(outputs, np.float32) if bias is None else bias.numpy()
    grid = np.array(
        [rows, columns, *dilation, first_row, first_column, *pad, top, bottom, left, right, tile.side]
    )

    def work(starts: range) -> bool:
        before, behind = (torch.empty((tile.points**2, block, count)) for count in (channels, outputs))
        forth, back = before.numpy(), behind.numpy()
        finite = True
        for start in starts:
            end = min(start + block, tiles)
            _input(images, forth, grid, start, end, direction.place)
            count = max(end - start, _FEWEST)
            torch.bmm(before[:, :count], kernels, out=behind[:, :count])
            finite &= _output(
                back, results, offsets, grid, start, end, direction.place, direction.factors, rectify
            )
        return finite

    return all(in_parallel(work, range(0, tiles, block)))


@njit(inline="always", fastmath=ANY_ORDER)
def _forth_4(d0, d1, d2, d3, d4, d5):  # type: ignore[no-untyped-def]
    """Six values along an axis -> those at the six points."""
    even_a, odd_a = d4 - _B2 * d2, _A * (d3 - _B2 * d1)
    even_b, odd_b = d4 - _A2 * d2, _B * (d3 - _A2 * d1)
    first, last = d0 - _SUM * d2 + d4, d1 - _SUM * d3 + d5
    return first, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, last


@njit(inline="always", fastmath=ANY_ORDER)
def _forth_3(d0, d1, d2, d3, d4):  # type: ignore[no-untyped-def]
    """Five values along an axis -> those at the five points."""
    first, last = d0 + _REST * (d1 + d2) + d3, d1 + _REST * (d2 + d3) + d4
    at_p, at_q = d3 + (_ONE - _Q) * d2 - _Q * d1, d3 + (_ONE - _P) * d2 - _P * d1
    return first, d1 - _P_AND_Q * d2 + d3, at_p, at_q, last


@njit(inline="always", fastmath=ANY_ORDER)
def _place_of(tile, grid):  # type: ignore[no-untyped-def]
    """Of a tile: image, and the row and column of its first output."""
    column = tile % grid[1]
    tile //= grid[1]
    row = tile % grid[0]
    tile //= grid[0]
    phase_x = tile % grid[3]
    tile //= grid[3]
    phase_y = tile % grid[2]
    return (
        tile // grid[2],
        grid[4] + phase_y + grid[12] * row * grid[2],
        grid[5] + phase_x + grid[12] * column * grid[3],
    )


@njit(cache=CACHE, nogil=True, fastmath=ANY_ORDER)
def _input(images, forth, grid, start, end, place):  # type: ignore[no-untyped-def]
    """Tiles ``start`` to ``end`` of the images (N, H, W, C), transformed: (points^2, tiles, C)."""
    _, height, width, channels = images.shape
    dy, dx, points = grid[2], grid[3], grid[12] + 2
    zeros = np.zeros(_LANES, np.float32)
    half = np.empty((6, 6, _LANES), np.float32)
    for tile in range(start, end):
        image, y, x = _place_of(tile, grid)
        y -= grid[6]
        x -= grid[7]
        at = tile - start
        for first in range(0, channels, _LANES):
            count = min(_LANES, channels - first)
            for j in range(points):
                column = x + j * dx
                inside = 0 <= column < width
                y1, y2, y3, y4, y5 = y + dy, y + 2 * dy, y + 3 * dy, y + 4 * dy, y + 5 * dy
                r0 = images[image, y, column, first:] if inside and 0 <= y < height else zeros
                r1 = images[image, y1, column, first:] if inside and 0 <= y1 < height else zeros
                r2 = images[image, y2, column, first:] if inside and 0 <= y2 < height else zeros
                r3 = images[image, y3, column, first:] if inside and 0 <= y3 < height else zeros
                r4 = images[image, y4, column, first:] if inside and 0 <= y4 < height else zeros
                r5 = images[image, y5, column, first:] if inside and 0 <= y5 < height else zeros
                if points == 5:
                    for c in range(count):
                        (
                            half[0, j, c], half[1, j, c], half[2, j, c], half[3, j, c], half[4, j, c],
                        ) = _forth_3(r0[c], r1[c], r2[c], r3[c], r4[c])  # fmt: skip
                    continue
                for c in range(count):
                    (
                        half[0, j, c], half[1, j, c], half[2, j, c],
                        half[3, j, c], half[4, j, c], half[5, j, c],
                    ) = _forth_4(r0[c], r1[c], r2[c], r3[c], r4[c], r5[c])  # fmt: skip
            for i in range(points):
                p = place[i] * points
                if points == 5:
                    for c in range(count):
                        (
                            forth[p + place[0], at, first + c], forth[p + place[1], at, first + c],
                            forth[p + place[2], at, first + c], forth[p + place[3], at, first + c],
                            forth[p + place[4], at, first + c],
                        ) = _forth_3(
                            half[i, 0, c], half[i, 1, c], half[i, 2, c], half[i, 3, c], half[i, 4, c],
                        )  # fmt: skip
                    continue
                for c in range(count):
                    (
                        forth[p + place[0], at, first + c], forth[p + place[1], at, first + c],
                        forth[p + place[2], at, first + c], forth[p + place[3], at, first + c],
                        forth[p + place[4], at, first + c], forth[p + place[5], at, first + c],
                    ) = _forth_4(
                        half[i, 0, c], half[i, 1, c], half[i, 2, c],
                        half[i, 3, c], half[i, 4, c], half[i, 5, c],
                    )  # fmt: skip


@njit(cache=CACHE, nogil=True, fastmath=ANY_ORDER)
def _output(products, results, offsets, grid, start, end, place, factors, rectify):  # type: ignore[no-untyped-def]
    """The ``products`` (points^2, tiles, K) of the tiles, transformed back into the results (N, H, W, K).

    False if a result is not finite.
    """
    outputs = results.shape[3]
    top, bottom, left, right = grid[8], grid[9], grid[10], grid[11]
    side, points = grid[12], grid[12] + 2
    a0, a1, a2, a3 = factors[0, 0], factors[0, 1], factors[0, 2], factors[0, 3]
    b0, b1, b2, b3 = factors[1, 0], factors[1, 1], factors[1, 2], factors[1, 3]
    half = np.empty((4, 6, _LANES), np.float32)
    whole = np.empty((4, _LANES), np.float32)
    nothing = _ZERO  # stays 0 unless a result is infinite or NaN
    for tile in range(start, end):
        image, y, x = _place_of(tile, grid)
        at = tile - start
        for first in range(0, outputs, _LANES):
            count = min(_LANES, outputs - first)
            for j in range(points):
                p = place[j]
                m0 = products[points * place[0] + p, at, first:]
                m1 = products[points * place[1] + p, at, first:]
                m2 = products[points * place[2] + p, at, first:]
                m3 = products[points * place[3] + p, at, first:]
                m4 = products[points * place[4] + p, at, first:]
                m5 = products[points * place[5] + p, at, first:]
                if side == 3:
                    for k in range(count):
                        half[0, j, k] = m0[k] + m1[k] + a0 * m2[k] + b0 * m3[k]
                        half[1, j, k] = a1 * m2[k] + b1 * m3[k] - m1[k]
                        half[2, j, k] = m1[k] + a2 * m2[k] + b2 * m3[k] + m4[k]
                    continue
                for k in range(count):
                    sum_a, difference_a = m1[k] + m2[k], m1[k] - m2[k]
                    sum_b, difference_b = m3[k] + m4[k], m3[k] - m4[k]
                    half[0, j, k] = m0[k] + a0 * sum_a + b0 * sum_b
                    half[1, j, k] = a1 * difference_a + b1 * difference_b
                    half[2, j, k] = a2 * sum_a + b2 * sum_b
                    half[3, j, k] = a3 * difference_a + b3 * difference_b + m5[k]
            for i in range(side):
                row = y + i * grid[2]
                if row < top:
                    continue
                if row >= bottom:
                    break
                if side == 3:
                    for k in range(count):
                        m1_, m2_, m3_ = half[i, 1, k], half[i, 2, k], half[i, 3, k]
                        offset = offsets[first + k]
                        whole[0, k] = offset + half[i, 0, k] + m1_ + a0 * m2_ + b0 * m3_
                        whole[1, k] = offset + a1 * m2_ + b1 * m3_ - m1_
                        whole[2, k] = offset + m1_ + a2 * m2_ + b2 * m3_ + half[i, 4, k]
                else:
                    for k in range(count):
                        sum_a, difference_a = half[i, 1, k] + half[i, 2, k], half[i, 1, k] - half[i, 2, k]
                        sum_b, difference_b = half[i, 3, k] + half[i, 4, k], half[i, 3, k] - half[i, 4, k]
                        offset = offsets[first + k]
                        whole[0, k] = offset + half[i, 0, k] + a0 * sum_a + b0 * sum_b
                        whole[1, k] = offset + a1 * difference_a + b1 * difference_b
                        whole[2, k] = offset + a2 * sum_a + b2 * sum_b
                        whole[3, k] = offset + a3 * difference_a + b3 * difference_b + half[i, 5, k]
                for j in range(side):
                    column = x + j * grid[3]
                    if column < left:
                        continue
                    if column >= right:
                        break
                    into = results[image, row, column, first:]
                    for k in range(count):
                        value = whole[j, k]
                        nothing += value * _ZERO
                        into[k] = _ZERO if rectify and value < _ZERO else value
    return nothing == _ZERO


announce("fast convolutions", _input, _output)
