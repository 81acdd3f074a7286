"""Winograd's convolution along the width, for 7 x 7 kernels of stride 1: 9 products for 14.

The seven columns of a kernel are four and three: F(2, 4) at the points +-1/2, +-3/2 and infinity, F(2, 3) at
0, +-1 and infinity. So two outputs beside each other, a tile, come from 9 products of transformed columns,
where the sum has 14. The rows stay as they are: over the channels these are 9 x 7 matrix products. The data
gradient is the transposed algorithm, with the same transformed kernels.

Transforms of both axes would save another eighth of the time, and take a third more memory; one transform of
all seven columns has eight points and three times the error.

Images are channels-last. Each is computed by itself and in the same pieces, of which a thread computes each
alone: it gets the same bits among others and with any number of threads.
Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from caffe_gp.caffe.fast.threads import in_parallel

T = TypeVar("T")
SIZE = 7  # of a kernel, along each axis
POINTS = 9
_TILE = 2  # outputs
_COLUMNS = 8  # of the image, that a tile sees
_OUTPUTS, _CHANNELS = 2048, 256  # that a product makes at a time: parts for the threads, as fast as all
_TRANSFORMED = 8  # outputs whose kernels are transformed at a time: they stay in the cache


def _to_kernels(points: Sequence[float], taps: int) -> list[list[float]]:
    """Rows of the transform of ``taps`` values: at the points, and at infinity."""
    rows = []
    for p in points:
        scale = 1.0
        for q in points:
            scale *= p - q if q != p else 1
        rows.append([p**i / scale for i in range(taps)])
    return [*rows, [0.0] * (taps - 1) + [1.0]]


def _to_images(points: Sequence[float]) -> list[list[float]]:
    """Rows of the transform of the columns: coefficients of the product of all x - q but the point's own."""
    rows = []
    for left_out in (*points, None):
        row = [1.0]
        for q in points:
            if q != left_out:
                row = [a - q * b for a, b in zip([0.0, *row], [*row, 0.0])]
        rows.append(row + [0.0] * (len(points) + 1 - len(row)))
    return rows


_FOUR, _THREE = (0.5, -0.5, 1.5, -1.5), (0.0, 1.0, -1.0)
# The four columns see the first five of a tile's eight, the three the last four.
_KERNELS = [row + [0.0] * 3 for row in _to_kernels(_FOUR, 4)]
_KERNELS += [[0.0] * 4 + row for row in _to_kernels(_THREE, 3)]
_IMAGES = [row + [0.0] * 3 for row in _to_images(_FOUR)] + [[0.0] * 4 + row for row in _to_images(_THREE)]
_RESULTS = [[1.0, p] for p in _FOUR] + [[0.0, 1.0]] + [[1.0, p] for p in _THREE] + [[0.0, 1.0]]


def transformed(weight: torch.Tensor) -> torch.Tensor:
    """(outputs, channels, 7, 7) -> (9, 7, outputs, channels), computed in float64 and rounded once."""
    g = torch.tensor(_KERNELS, dtype=torch.float64)
    outputs, channels = weight.shape[:2]
    result = weight.new_empty((POINTS, SIZE, outputs, channels))

    def transform(start: int) -> None:
        part = weight[start : start + _TRANSFORMED].permute(3, 2, 0, 1).to(torch.float64).reshape(SIZE, -1)
        result[:, :, start : start + _TRANSFORMED] = (g @ part).view(POINTS, SIZE, -1, channels)

    _each(transform, [(start,) for start in range(0, outputs, _TRANSFORMED)])
    return result


def tiles(width: int) -> int:
    """Of so many outputs beside each other; half of the last one may be no output."""
    return -(-width // _TILE)


def workspace(channels: int, outputs: int, rows: int, width: int) -> int:
    """Values that a pass takes besides images and kernels; rows, width: of the outputs."""
    seen, of_tiles = rows + SIZE - 1, tiles(width)
    padded = channels * seen * (_TILE * of_tiles + _COLUMNS - _TILE)
    return padded + POINTS * of_tiles * (channels * seen + outputs * rows)


def convolve(
    x: torch.Tensor,
    kernels: torch.Tensor,
    out: torch.Tensor,
    *,
    pad: tuple[int, int],
    bias: torch.Tensor | None = None,
) -> bool:
    """The convolution of ``x`` in ``out``; False if a result is not finite: it has to be computed otherwise.

    x         (N, C, H, W), channels-last
    kernels   ``transformed`` weights
    out       (N, K, H + 2 pad - 6, ...), channels-last
    bias      (K,)
    """
    padded, forth, back = _memories(x, out)
    inside, width = _inside(x, pad), out.shape[3]
    rows, outputs, channels = back.shape[1], out.shape[1], x.shape[1]

    def transform(p: int) -> None:
        _combine(forth[p], [(b, _every(padded, j, width)) for j, b in enumerate(_IMAGES[p])])

    def multiply(p: int, start: int) -> None:
        end = min(start + _OUTPUTS, outputs)
        products = back[p].view(-1, outputs)[:, start:end]
        for r in range(SIZE):
            seen = forth[p, r : r + rows].view(-1, channels)
            products.addmm_(seen, kernels[p, r, start:end].t(), beta=min(r, 1))

    def finish(result: torch.Tensor, i: int) -> bool:
        columns = result[:, i::_TILE]
        _combine(columns, [(a[i], m[:, : columns.shape[1]]) for a, m in zip(_RESULTS, back)])
        if bias is not None:
            columns += bias
        return bool(columns.isfinite().all())

    for image, result in zip(x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)):
        padded[inside] = image
        _each(transform, [(p,) for p in range(POINTS)])
        _each(multiply, [(p, start) for p in range(POINTS) for start in range(0, outputs, _OUTPUTS)])
        if not all(_each(finish, [(result, i) for i in range(_TILE)])):
            return False
    return True


def data_gradient(dy: torch.Tensor, kernels: torch.Tensor, dx: torch.Tensor, *, pad: tuple[int, int]) -> bool:
    """The gradient ``dx`` of the images from that of the outputs, with the convolution's ``pad``.

    See ``convolve``.
    """
    padded, forth, back = _memories(dx, dy)
    inside, width = _inside(dx, pad), dy.shape[3]
    rows, outputs, channels = back.shape[1], dy.shape[1], dx.shape[1]

    def transform(gradient: torch.Tensor, p: int) -> None:
        back[p, :, width // _TILE :] = 0  # half of the last tile may be no output
        for i, factor in enumerate(_RESULTS[p]):
            columns = gradient[:, i::_TILE]
            into = back[p, :, : columns.shape[1]]
            torch.mul(columns, factor, out=into) if i == 0 else into.add_(columns, alpha=factor)

    def multiply(p: int, start: int) -> None:
        end = min(start + _CHANNELS, channels)
        forth[p, :, :, start:end] = 0
        for r in range(SIZE):
            seen = forth[p, r : r + rows].view(-1, channels)[:, start:end]
            seen.addmm_(back[p].view(-1, outputs), kernels[p, r, :, start:end])

    def finish(i: int) -> bool:
        padded[:, i::_TILE] = 0
        for j in range(i, _COLUMNS, _TILE):
            for p in range(POINTS):
                if _IMAGES[p][j]:
                    _every(padded, j, width).add_(forth[p], alpha=_IMAGES[p][j])
        return bool(padded[:, i::_TILE].isfinite().all())

    for image, gradient in zip(dx.permute(0, 2, 3, 1), dy.permute(0, 2, 3, 1)):
        _each(transform, [(gradient, p) for p in range(POINTS)])
        _each(multiply, [(p, start) for p in range(POINTS) for start in range(0, channels, _CHANNELS)])
        if not all(_each(finish, [(i,) for i in range(_TILE)])):
            return False
        image.copy_(padded[inside])
    return True


def _memories(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of an image: with its padding (H, W, C), zeros; transformed (9, H, tiles, C); the products of it."""
    rows, width = y.shape[2:]
    seen, of_tiles = rows + SIZE - 1, tiles(width)
    padded = torch.zeros((seen, _TILE * of_tiles + _COLUMNS - _TILE, x.shape[1]))
    forth = torch.empty((POINTS, seen, of_tiles, x.shape[1]))
    return padded, forth, torch.empty((POINTS, rows, of_tiles, y.shape[1]))


def _inside(x: torch.Tensor, pad: tuple[int, int]) -> tuple[slice, slice]:
    """Where the image lies in its padding."""
    return slice(pad[0], pad[0] + x.shape[2]), slice(pad[1], pad[1] + x.shape[3])


def _every(padded: torch.Tensor, j: int, width: int) -> torch.Tensor:
    """Column ``j`` of all tiles (H, tiles, C), a view."""
    return padded[:, j : j + _TILE * tiles(width) : _TILE]


def _combine(result: torch.Tensor, terms: list[tuple[float, torch.Tensor]]) -> None:
    """Make it the sum of tensors, each times a factor."""
    first, *others = [(factor, values) for factor, values in terms if factor]
    torch.mul(first[1], first[0], out=result)
    for factor, values in others:
        result.add_(values, alpha=factor)


def _each(work: Callable[..., T], pieces: Sequence[tuple[Any, ...]]) -> list[T]:
    """``work`` of every piece, shared among the threads, of which each computes alone."""
    inference = torch.is_inference_mode_enabled()

    def some(numbers: range) -> list[T]:
        with torch.inference_mode(inference):
            return [work(*pieces[i]) for i in numbers]

    return [found for part in in_parallel(some, range(len(pieces))) for found in part]
