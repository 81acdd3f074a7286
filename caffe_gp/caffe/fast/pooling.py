"""Max pooling of channels-last images; which element was the maximum is kept in a byte."""

from __future__ import annotations

import numpy as np
import torch

from caffe_gp.caffe.fast.threads import in_parallel
from caffe_gp.caffe.fast.windows import Geometry, Window
from caffe_gp.compiled import CACHE, announce, njit

_NONE = np.uint8(255)  # chosen of a window that lies wholly outside
_LEAST = np.finfo(np.float32).min  # Caffe's start value


def max_pool(
    x: torch.Tensor,
    y: torch.Tensor,
    chosen: torch.Tensor,
    geometry: Geometry,
    window: Window | None = None,
) -> None:
    """Maxima of the windows of ``x`` in ``y``, and which element each was in ``chosen``.

    x, y     (N, C, H, W) and (N, C, OH, OW) float32, channels-last; how many windows there are is y's to say
    chosen   uint8 in y's shape and layout: row * kernel width + column in the window; of equal ones the first
    window   the part of y to compute
    NaN is a maximum, as in PyTorch.
    """
    where = Window.whole(y.shape) if window is None else window
    arrays = _channels_last(x), _channels_last(y), _channels_last(chosen)
    numbers = np.array([*geometry.kernel, *geometry.stride, *geometry.pad, *where])
    rows = range(y.shape[0] * (where.bottom - where.top))
    in_parallel(lambda part: _max_pool(*arrays, numbers, part.start, part.stop, part.step), rows)


def max_pool_backward(
    dy: torch.Tensor,
    chosen: torch.Tensor,
    dx: torch.Tensor,
    geometry: Geometry,
    window: Window | None = None,
) -> None:
    """The gradient ``dx`` of the images, or a part of it, from that of the maxima. See ``max_pool``."""
    where = Window.whole(dx.shape) if window is None else window
    arrays = _channels_last(dy), _channels_last(chosen), _channels_last(dx)
    numbers = np.array([*geometry.kernel, *geometry.stride, *geometry.pad, *where])
    rows = range(dx.shape[0] * (where.bottom - where.top))
    in_parallel(lambda part: _max_pool_backward(*arrays, numbers, part.start, part.stop, part.step), rows)


def _channels_last(values: torch.Tensor) -> np.ndarray:
    return values.permute(0, 2, 3, 1).numpy()


@njit(cache=CACHE, nogil=True)
def _max_pool(x, y, chosen, geometry, start, stop, step):  # type: ignore[no-untyped-def]
    _, height, width, channels = x.shape
    kh, kw, sh, sw, ph, pw, top, bottom, left, right = geometry
    place = np.empty(channels, np.int32)  # of one width with the values, which the compiler wants for vectors
    for row in range(start, stop, step):
        image, i = row // (bottom - top), top + row % (bottom - top)
        y0, y1 = max(i * sh - ph, 0), min(i * sh - ph + kh, height)
        for j in range(left, right):
            x0, x1 = max(j * sw - pw, 0), min(j * sw - pw + kw, width)
            most, at = y[image, i, j], chosen[image, i, j]
            if y0 >= y1 or x0 >= x1:
                most[:] = _LEAST
                at[:] = _NONE
                continue
            most[:] = x[image, y0, x0]
            place[:] = (y0 - i * sh + ph) * kw + x0 - j * sw + pw
            for v in range(y0, y1):
                for u in range(x0, x1):
                    if v == y0 and u == x0:
                        continue
                    k = np.int32((v - i * sh + ph) * kw + u - j * sw + pw)
                    values = x[image, v, u]
                    for c in range(channels):
                        better = (values[c] > most[c]) | (values[c] != values[c])
                        most[c] = values[c] if better else most[c]
                        place[c] = k if better else place[c]
            for c in range(channels):
                at[c] = np.uint8(place[c])


@njit(cache=CACHE, nogil=True)
def _max_pool_backward(dy, chosen, dx, geometry, start, stop, step):  # type: ignore[no-untyped-def]
    """Row by row of the images, each from all windows that reach it, so that threads do not meet."""
    _, height, width, channels = dx.shape
    rows, columns = dy.shape[1:3]
    kh, kw, sh, sw, ph, pw, top, bottom, left, right = geometry
    for row in range(start, stop, step):
        image, v = row // (bottom - top), top + row % (bottom - top)
        dx[image, v, left:right] = 0
        first, last = max((v + ph - kh) // sh + 1, 0), min((v + ph) // sh, rows - 1)
        from_column, to_column = max((left + pw - kw) // sw + 1, 0), min((right - 1 + pw) // sw, columns - 1)
        for i in range(first, last + 1):
            ky = v + ph - i * sh
            for j in range(from_column, to_column + 1):
                gradient, at = dy[image, i, j], chosen[image, i, j]
                for kx in range(kw):
                    u = j * sw - pw + kx
                    if u < left or u >= right:
                        continue
                    k = np.uint8(ky * kw + kx)
                    into = dx[image, v, u]
                    for c in range(channels):
                        into[c] += gradient[c] if at[c] == k else np.float32(0)


announce("fast max pooling", _max_pool, _max_pool_backward)
