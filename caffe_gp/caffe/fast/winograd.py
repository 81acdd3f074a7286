"""Winograd's convolution for 3 x 3 kernels of stride 1: F(4 x 4, 3 x 3), a quarter of the multiplications.

An output tile of 4 x 4 comes from 36 products of transformed inputs and transformed kernels, where the sum
has 144. Over the channels these are 36 matrix products. The points of the transform are 0, +-2/3, +-3/2 and
infinity: with the usual 0, +-1, +-2 the error would be five times as large. They also come in pairs p, 1/p,
by which the transform of the flipped kernels, which the data gradient needs, is the transposed transform of
the kernels in another order and scale: one set of transformed weights serves both passes.

Images are channels-last. With a dilation the image is d x d interleaved images, each convolved on its own.
Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from caffe_gp.caffe.fast.threads import in_parallel
from caffe_gp.caffe.fast.windows import Window
from caffe_gp.compiled import CACHE, announce, njit

TILE = 4  # outputs along each axis
_POINTS = 36
# Sums may be taken in any order, and infinities and NaN stay what they are.
_ARITHMETIC = {"contract", "reassoc", "nsz"}
_LANES = 64  # channels that a transform works on at a time: all 36 values of them stay in the nearest cache
_FEW, _MANY = 96, 224  # tiles that go through the three steps together: they should stay in the cache
_FEWEST = 16  # of fewer the libraries make products in another way, with other bits

_A, _B = np.float32(2 / 3), np.float32(3 / 2)
_A2, _B2 = np.float32(4 / 9), np.float32(9 / 4)
_SUM = np.float32(4 / 9 + 9 / 4)
_ZERO = np.float32(0)


class _Way(NamedTuple):
    """How the products' places and the way back differ between a convolution and its data gradient.

    place   of each of the six points, along one axis
    back    (2, 4): what the pairs of points +-2/3 and +-3/2 count in the four outputs
    """

    place: np.ndarray
    back: np.ndarray


def _ways() -> tuple[_Way, _Way]:
    powers = np.array([[float(p) ** i for i in range(TILE)] for p in (2 / 3, 3 / 2)])
    # Flipped kernels take at the point p what the kernels take at 1/p, times these.
    flipped = powers * [[-9 / 4], [-4 / 9]]
    return (
        _Way(np.array([0, 1, 2, 3, 4, 5]), powers.astype(np.float32)),
        _Way(np.array([5, 3, 4, 1, 2, 0]), flipped.astype(np.float32)),
    )


_CONVOLUTION, _GRADIENT = _ways()


def transformed(weight: torch.Tensor) -> torch.Tensor:
    """(outputs, channels, 3, 3) -> (36, channels, outputs), computed in float64 and rounded once."""
    a, b = 2 / 3, 3 / 2
    rows = [[1.0, 0.0, 0.0]]
    for p, q in ((a, b), (b, a)):
        scale = 1 / (2 * p * p * (p * p - q * q))
        rows += [[scale, s * p * scale, p * p * scale] for s in (1, -1)]
    g = torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)
    outputs, channels = weight.shape[:2]
    result = weight.new_empty((_POINTS, channels, outputs))
    for start in range(0, channels, _LANES):  # float64 of all weights at once would be large
        part = weight[:, start : start + _LANES].permute(2, 3, 1, 0).to(torch.float64).flatten(2)
        columns = torch.tensordot(g, part.flatten(1).view(3, 3, -1), dims=([1], [0]))  # (6, 3, values)
        both = torch.tensordot(g, columns, dims=([1], [1])).transpose(0, 1)  # (6, 6, values)
        result[:, start : start + _LANES] = both.reshape(_POINTS, -1, outputs)
    return result


def convolve(
    x: torch.Tensor,
    kernels: torch.Tensor,
    out: torch.Tensor,
    *,
    pad: tuple[int, int],
    dilation: tuple[int, int],
    bias: torch.Tensor | None = None,
    rectify: bool = False,
    window: Window | None = None,
) -> bool:
    """The convolution of ``x`` in ``out``, or in the window of it; False if it has to be computed otherwise.

    x         (N, C, H, W), channels-last
    kernels   ``transformed`` weights
    out       (N, K, H + 2 pad - 2 dilation, ...), channels-last
    bias      (K,)
    rectify   negative results become 0
    False stands for results that are not finite: Winograd's sums spread them over their tile.
    """
    return _run(x, kernels, out, _CONVOLUTION, pad, dilation, bias, rectify, window)


def data_gradient(
    dy: torch.Tensor,
    kernels: torch.Tensor,
    dx: torch.Tensor,
    *,
    pad: tuple[int, int],
    dilation: tuple[int, int],
    window: Window | None = None,
) -> bool:
    """The gradient ``dx`` of the images from that of the outputs, with the convolution's ``pad``.

    See ``convolve``.
    """
    around = (2 * dilation[0] - pad[0], 2 * dilation[1] - pad[1])
    return _run(dy, kernels.transpose(1, 2), dx, _GRADIENT, around, dilation, None, False, window)


def workspace(channels: int, outputs: int, tiles: int, threads: int) -> int:
    """Values that a pass takes besides images and kernels."""
    return _POINTS * _block(channels, outputs, tiles) * (channels + outputs) * threads


def _block(channels: int, outputs: int, tiles: int) -> int:
    return max(_FEWEST, min(tiles, _FEW if max(channels, outputs) <= 128 else _MANY))


def _run(
    x: torch.Tensor,
    kernels: torch.Tensor,
    out: torch.Tensor,
    way: _Way,
    pad: tuple[int, int],
    dilation: tuple[int, int],
    bias: torch.Tensor | None,
    rectify: bool,
    window: Window | None,
) -> bool:
    channels, outputs = kernels.shape[1:]
    top, bottom, left, right = Window.whole(out.shape) if window is None else window
    # Tiles lie where they lie in the whole image, so that a window's results have the same bits.
    sides = TILE * dilation[0], TILE * dilation[1]
    first_row, first_column = top // sides[0] * sides[0], left // sides[1] * sides[1]
    rows, columns = -(-(bottom - first_row) // sides[0]), -(-(right - first_column) // sides[1])
    tiles = x.shape[0] * dilation[0] * dilation[1] * rows * columns
    if tiles <= 0 or top >= bottom or left >= right:
        return True
    block = _block(channels, outputs, tiles)
    images, results = x.permute(0, 2, 3, 1).numpy(), out.permute(0, 2, 3, 1).numpy()
    offsets = np.zeros(outputs, np.float32) if bias is None else bias.numpy()
    grid = np.array([rows, columns, *dilation, first_row, first_column, *pad, top, bottom, left, right])

    def work(starts: range) -> bool:
        before, behind = torch.empty((_POINTS, block, channels)), torch.empty((_POINTS, block, outputs))
        forth, back = before.numpy(), behind.numpy()
        finite = True
        for start in starts:
            end = min(start + block, tiles)
            _input(images, forth, grid, start, end, way.place)
            rows = max(end - start, _FEWEST)
            torch.bmm(before[:, :rows], kernels, out=behind[:, :rows])
            finite &= _output(back, results, offsets, grid, start, end, way.place, way.back, rectify)
        return finite

    return all(in_parallel(work, range(0, tiles, block)))


def _compiled(function: Callable[..., Any]) -> Any:
    return njit(cache=CACHE, nogil=True, fastmath=_ARITHMETIC)(function)


def _inlined(function: Callable[..., Any]) -> Any:
    return njit(inline="always", fastmath=_ARITHMETIC)(function)


@_inlined
def _forth(d0, d1, d2, d3, d4, d5):  # type: ignore[no-untyped-def]
    """Six values along an axis -> those at the six points."""
    even_a, odd_a = d4 - _B2 * d2, _A * (d3 - _B2 * d1)
    even_b, odd_b = d4 - _A2 * d2, _B * (d3 - _A2 * d1)
    first, last = d0 - _SUM * d2 + d4, d1 - _SUM * d3 + d5
    return first, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, last


@_inlined
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
        grid[4] + phase_y + TILE * row * grid[2],
        grid[5] + phase_x + TILE * column * grid[3],
    )


@_compiled
def _input(images, forth, grid, start, end, place):  # type: ignore[no-untyped-def]
    """Tiles ``start`` to ``end`` of the images (N, H, W, C), transformed: (36, tiles, C)."""
    _, height, width, channels = images.shape
    dy, dx = grid[2], grid[3]
    zeros = np.zeros(_LANES, np.float32)
    half = np.empty((6, 6, _LANES), np.float32)
    for tile in range(start, end):
        image, y, x = _place_of(tile, grid)
        y -= grid[6]
        x -= grid[7]
        at = tile - start
        for first in range(0, channels, _LANES):
            count = min(_LANES, channels - first)
            for j in range(6):
                column = x + j * dx
                inside = 0 <= column < width
                y1, y2, y3, y4, y5 = y + dy, y + 2 * dy, y + 3 * dy, y + 4 * dy, y + 5 * dy
                r0 = images[image, y, column, first:] if inside and 0 <= y < height else zeros
                r1 = images[image, y1, column, first:] if inside and 0 <= y1 < height else zeros
                r2 = images[image, y2, column, first:] if inside and 0 <= y2 < height else zeros
                r3 = images[image, y3, column, first:] if inside and 0 <= y3 < height else zeros
                r4 = images[image, y4, column, first:] if inside and 0 <= y4 < height else zeros
                r5 = images[image, y5, column, first:] if inside and 0 <= y5 < height else zeros
                for c in range(count):
                    (
                        half[0, j, c], half[1, j, c], half[2, j, c],
                        half[3, j, c], half[4, j, c], half[5, j, c],
                    ) = _forth(r0[c], r1[c], r2[c], r3[c], r4[c], r5[c])  # fmt: skip
            for i in range(6):
                p = place[i] * 6
                for c in range(count):
                    (
                        forth[p + place[0], at, first + c], forth[p + place[1], at, first + c],
                        forth[p + place[2], at, first + c], forth[p + place[3], at, first + c],
                        forth[p + place[4], at, first + c], forth[p + place[5], at, first + c],
                    ) = _forth(
                        half[i, 0, c], half[i, 1, c], half[i, 2, c],
                        half[i, 3, c], half[i, 4, c], half[i, 5, c],
                    )  # fmt: skip


@_compiled
def _output(back, results, offsets, grid, start, end, place, ways, rectify):  # type: ignore[no-untyped-def]
    """The products (36, tiles, K) of the tiles, transformed back into the results (N, H, W, K).

    False if a result is not finite.
    """
    outputs = results.shape[3]
    top, bottom, left, right = grid[8], grid[9], grid[10], grid[11]
    a0, a1, a2, a3 = ways[0, 0], ways[0, 1], ways[0, 2], ways[0, 3]
    b0, b1, b2, b3 = ways[1, 0], ways[1, 1], ways[1, 2], ways[1, 3]
    half = np.empty((4, 6, _LANES), np.float32)
    whole = np.empty((4, _LANES), np.float32)
    nothing = _ZERO  # stays 0 unless a result is infinite or NaN
    for tile in range(start, end):
        image, y, x = _place_of(tile, grid)
        at = tile - start
        for first in range(0, outputs, _LANES):
            count = min(_LANES, outputs - first)
            for j in range(6):
                p = place[j]
                m0 = back[6 * place[0] + p, at, first:]
                m1 = back[6 * place[1] + p, at, first:]
                m2 = back[6 * place[2] + p, at, first:]
                m3 = back[6 * place[3] + p, at, first:]
                m4 = back[6 * place[4] + p, at, first:]
                m5 = back[6 * place[5] + p, at, first:]
                for k in range(count):
                    sum_a, difference_a = m1[k] + m2[k], m1[k] - m2[k]
                    sum_b, difference_b = m3[k] + m4[k], m3[k] - m4[k]
                    half[0, j, k] = m0[k] + a0 * sum_a + b0 * sum_b
                    half[1, j, k] = a1 * difference_a + b1 * difference_b
                    half[2, j, k] = a2 * sum_a + b2 * sum_b
                    half[3, j, k] = a3 * difference_a + b3 * difference_b + m5[k]
            for i in range(TILE):
                row = y + i * grid[2]
                if row < top:
                    continue
                if row >= bottom:
                    break
                for k in range(count):
                    sum_a, difference_a = half[i, 1, k] + half[i, 2, k], half[i, 1, k] - half[i, 2, k]
                    sum_b, difference_b = half[i, 3, k] + half[i, 4, k], half[i, 3, k] - half[i, 4, k]
                    offset = offsets[first + k]
                    whole[0, k] = offset + half[i, 0, k] + a0 * sum_a + b0 * sum_b
                    whole[1, k] = offset + a1 * difference_a + b1 * difference_b
                    whole[2, k] = offset + a2 * sum_a + b2 * sum_b
                    whole[3, k] = offset + a3 * difference_a + b3 * difference_b + half[i, 5, k]
                for j in range(TILE):
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
