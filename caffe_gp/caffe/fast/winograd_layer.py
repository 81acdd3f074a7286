"""When a Convolution layer is computed by Winograd's convolution, and what it keeps for that."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from caffe_gp.caffe import fast, mode
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.kept import Kept
from caffe_gp.caffe.fast.windows import Window, channels_last, zeros

#: Measured on AVX2 (docs/performance.md): with fewer channels or outputs the transforms cost what the
#: products save, with fewer tiles an image the products are too thin.
LEAST_CHANNELS = 64
LEAST_TILES = 16


class WinogradLayer:
    """The way of one layer: 3 x 3 kernels, stride 1, any pad and dilation, one group."""

    def __init__(self, weight: Blob, bias: Blob | None, pad: Sequence[int], dilation: Sequence[int]) -> None:
        self._weight, self._bias, self._shape = weight, bias, weight.shape
        self._pad, self._dilation = (pad[0], pad[1]), (dilation[0], dilation[1])
        self.kernels = Kept(_transformed)

    @staticmethod
    def suits(kernel: Sequence[int], stride: Sequence[int], weight: Blob) -> bool:
        """Whether Winograd's convolution suits a layer of so many channels, whatever the sizes."""
        square = list(kernel) == [3, 3] and list(stride) == [1, 1]
        return square and min(weight.shape[:2]) >= LEAST_CHANNELS and fast.compiled()

    def pays(self, blob: Blob, out: Blob) -> bool:
        """Whether it pays for these shapes. Images of one size go one way, however many there are.

        Not for shapes that do not belong together: somebody reshaped a blob, which the plain path finds.
        """
        if mode.device().type != "cpu" or 0 in blob.shape or self._tiles(out) < LEAST_TILES:
            return False
        sizes = (n + 2 * p - 2 * d for n, p, d in zip(blob.shape[2:], self._pad, self._dilation))
        outputs, channels = self._shape[:2]
        fits = blob.shape[1] == channels and out.shape == (blob.shape[0], outputs, *sizes)
        return (
            fits
            and self._weight.shape == self._shape
            and (self._bias is None or self._bias.shape == (outputs,))
        )

    def _tiles(self, out: Blob) -> int:
        """Of an image."""
        return math.prod(-(-n // (4 * d)) * d for n, d in zip(out.shape[2:], self._dilation))

    def whole_tiles(self, window: Window, out: Blob) -> Window:
        """The window and what shares tiles with it: there the last bits depend on all of a tile's inputs."""
        sides = []
        for axis, (first, end) in enumerate((window[:2], window[2:])):
            side = 4 * self._dilation[axis]
            sides += [first // side * side, min(-(-end // side) * side, out.shape[2 + axis])]
        return Window(*sides) if window.top < window.bottom and window.left < window.right else window

    def workspace(self, blob: Blob, out: Blob) -> int:
        """Values that a pass takes."""
        from caffe_gp.caffe.fast import winograd

        tiles = out.shape[0] * self._tiles(out)
        return winograd.workspace(blob.shape[1], out.shape[1], tiles, torch.get_num_threads())

    def kept(self) -> int:
        """Values of the transformed kernels: 36 for 9."""
        return 4 * self._weight.count

    def forward(
        self, bottom: Sequence[Blob], top: Sequence[Blob], window: Window | None, rectify: bool
    ) -> bool:
        """Data of the tops, or of a part of the only one; False where the plain path must compute them.

        That is where results are not finite.
        """
        from caffe_gp.caffe.fast import winograd

        bias = None if self._bias is None else self._bias.data_tensor
        for blob, out in zip(bottom, top):
            x = channels_last(blob.data_tensor)
            y = out.own_data(apart_from=x)
            if not winograd.convolve(
                x,
                self.kernels.of(self._weight),
                y,
                pad=self._pad,
                dilation=self._dilation,
                bias=bias,
                rectify=rectify,
                window=window,
            ):
                return False
            out.data_tensor = y
        return True

    def backward(
        self,
        top: Sequence[Blob],
        propagate_down: Sequence[bool],
        bottom: Sequence[Blob],
        window: Window | None,
    ) -> bool:
        """The images' gradients where they are wanted; False as in ``forward``."""
        from caffe_gp.caffe.fast import winograd

        for blob, out, wanted in zip(bottom, top, propagate_down):
            if not wanted:
                continue
            dy = channels_last(out.diff_tensor)
            dx = blob.own_diff(apart_from=dy) if window is None else zeros(blob.shape)
            kernels = self.kernels.of(self._weight)
            if not winograd.data_gradient(
                dy, kernels, dx, pad=self._pad, dilation=self._dilation, window=window
            ):
                return False
            blob.diff_tensor = dx
        return True


def _transformed(weight: torch.Tensor) -> torch.Tensor:
    from caffe_gp.caffe.fast import winograd

    return winograd.transformed(weight)
