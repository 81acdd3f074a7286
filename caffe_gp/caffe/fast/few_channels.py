"""The gradient of images of a few channels, one place after the other, from that of a convolution's outputs.

The libraries' kernels work on 16 channels at a time, so for the three of a photo most of what they do is
waste. Here the outputs, of which there are many, lie beside each other: those of a row of the kernel are one
sum. Images are channels-last. Every value is computed by itself, in one order: whatever is computed with it
and by whichever thread, its bits are the same.
"""

from __future__ import annotations

import numpy as np
import torch

from caffe_gp.caffe.fast.threads import in_parallel
from caffe_gp.caffe.fast.windows import Pair, Window
from caffe_gp.compiled import ANY_ORDER, CACHE, announce, njit

_ROWS = 8  # of the gradient that a thread takes at a time
_ZERO = np.float32(0)


def flipped(weight: torch.Tensor) -> torch.Tensor:
    """(outputs, channels, rows, columns) -> (channels, rows, columns * outputs), the last ones first."""
    return weight.flip(2, 3).permute(1, 2, 3, 0).flatten(2).contiguous()


def data_gradient(
    dy: torch.Tensor, weights: torch.Tensor, dx: torch.Tensor, pad: Pair, window: Window | None
) -> None:
    """The gradient ``dx`` of the images, or what is in the window of it; stride 1, no dilation, one group.

    dy        (N, K, ...), channels-last: the outputs'
    weights   ``flipped``
    dx        (N, C, H, W), channels-last
    pad       the convolution's
    """
    n, outputs, rows, columns = dy.shape
    kernel_rows, kernel_columns = weights.shape[1], weights.shape[2] // outputs
    gradients = dy.permute(0, 2, 3, 1).numpy().reshape(n, rows, columns * outputs)
    results, kernels = dx.permute(0, 2, 3, 1).numpy(), weights.numpy()
    # The outputs that the first place of an image is part of begin there.
    start = np.array([pad[0] + 1 - kernel_rows, pad[1] + 1 - kernel_columns])
    top, bottom, left, right = Window.whole(dx.shape) if window is None else window
    bands = [(image, row) for image in range(n) for row in range(top, bottom, _ROWS)]

    def work(numbers: range) -> None:
        for image, row in (bands[number] for number in numbers):
            end = min(row + _ROWS, bottom)
            _data_gradient(gradients[image], kernels, outputs, results[image], start, row, end, left, right)

    in_parallel(work, range(len(bands)))


@njit(cache=CACHE, nogil=True, fastmath=ANY_ORDER)
def _data_gradient(gradients, kernels, outputs, results, start, top, bottom, left, right):  # type: ignore[no-untyped-def]
    """Rows ``top`` to ``bottom`` of the gradient (H, W, C) of an image."""
    channels, kernel_rows, _ = kernels.shape
    rows, columns, kernel_columns = (
        gradients.shape[0],
        gradients.shape[1] // outputs,
        kernels.shape[2] // outputs,
    )
    for row in range(top, bottom):
        y = row + start[0]
        for column in range(left, right):
            x = column + start[1]
            low, high = max(0, -x) * outputs, min(kernel_columns, columns - x) * outputs
            first, last = max(0, -y), min(kernel_rows, rows - y)
            if channels == 3:  # the three sums together read the outputs' gradients once
                red, green, blue = _ZERO, _ZERO, _ZERO
                for i in range(first, last):
                    given = gradients[y + i, x * outputs + low :]
                    one, two, three = (
                        kernels[0, i, low:high],
                        kernels[1, i, low:high],
                        kernels[2, i, low:high],
                    )
                    for m in range(high - low):
                        value = given[m]
                        red += one[m] * value
                        green += two[m] * value
                        blue += three[m] * value
                results[row, column, 0], results[row, column, 1], results[row, column, 2] = red, green, blue
                continue
            for channel in range(channels):
                total = _ZERO
                for i in range(first, last):
                    given, kernel = gradients[y + i, x * outputs + low :], kernels[channel, i, low:high]
                    for m in range(high - low):
                        total += kernel[m] * given[m]
                results[row, column, channel] = total


announce("gradients of images", _data_gradient)
