"""When a Convolution layer is computed by Winograd's convolution, and what it keeps for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from caffe_gp.caffe import fast
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.ways import Filters, Way, diff_to_write
from caffe_gp.caffe.fast.windows import Window, channels_last

if TYPE_CHECKING:
    from caffe_gp.caffe.fast import winograd

#: Measured on AVX2 (docs/performance.md): with fewer channels or outputs the transforms cost what the
#: products save, with fewer tiles an image the products are too thin.
LEAST_CHANNELS = 64
LEAST_TILES = 16


class WinogradLayer(Way):
    """3 x 3 kernels, stride 1, any pad and dilation, one group. False where results are not finite."""

    rectifies = True
    keeps_weights = True

    @classmethod
    def suits(cls, filters: Filters, learns: bool) -> bool:
        """With many channels; while weights learn, their transforms would be made anew in every pass."""
        geometry = filters.geometry
        plain = geometry.kernel == (3, 3) and geometry.stride == (1, 1) and filters.group == 1 and not learns
        return plain and min(filters.weight.shape[:2]) >= LEAST_CHANNELS and fast.compiled()

    def pays(self, blob: Blob, out: Blob) -> bool:
        """With many tiles in an image: images of one size go one way, however many there are."""
        return blob.count > 0 and self._tiles(out) >= LEAST_TILES

    def _tile(self, out: Blob) -> winograd.Tile:
        from caffe_gp.caffe.fast import winograd

        return winograd.tile_for(out.shape[2:], self.filters.geometry.dilation)

    def _tiles(self, out: Blob) -> int:
        """Of an image."""
        return self._tile(out).needed(out.shape[2:], self.filters.geometry.dilation)

    def whole(self, window: Window, out: Blob) -> Window:
        """The window and what shares tiles with it."""
        if window.top >= window.bottom or window.left >= window.right:
            return window
        sides, tile = [], self._tile(out)
        for axis, (first, end) in enumerate((window[:2], window[2:])):
            side = tile.side * self.filters.geometry.dilation[axis]
            sides += [first // side * side, min(-(-end // side) * side, out.shape[2 + axis])]
        return Window(*sides)

    def workspace(self, blob: Blob, out: Blob) -> int:
        """Of the threads' tiles."""
        from caffe_gp.caffe.fast import winograd

        tiles = out.shape[0] * self._tiles(out)
        return winograd.workspace(
            blob.shape[1], out.shape[1], self._tile(out), tiles, torch.get_num_threads()
        )

    def kept(self) -> int:
        """The transformed kernels: at most 36 values for 9; images of two sizes may need both tiles'."""
        return 4 * self.filters.weight.count

    def forward(self, blob: Blob, out: Blob, window: Window | None, rectify: bool) -> bool:
        """Into the memory that the top has already."""
        from caffe_gp.caffe.fast import winograd

        geometry, tile = self.filters.geometry, self._tile(out)
        x, bias = channels_last(blob.data_tensor), self.filters.bias_tensor()
        y = out.own_data(x)
        if not winograd.convolve(
            x,
            self._kernels(tile),
            y,
            tile,
            pad=geometry.pad,
            dilation=geometry.dilation,
            bias=bias,
            rectify=rectify,
            window=window,
        ):
            return False
        out.data_tensor = y
        return True

    def data_gradient(self, blob: Blob, out: Blob, window: Window | None) -> bool:
        """From the same transformed kernels."""
        from caffe_gp.caffe.fast import winograd

        geometry, tile = self.filters.geometry, self._tile(out)
        dy = channels_last(out.diff_tensor)
        dx = diff_to_write(blob, window, dy)
        if not winograd.data_gradient(
            dy,
            self._kernels(tile),
            dx,
            tile,
            pad=geometry.pad,
            dilation=geometry.dilation,
            window=window,
        ):
            return False
        blob.diff_tensor = dx
        return True

    def _kernels(self, tile: winograd.Tile) -> torch.Tensor:
        """Kept with the weights: layers that share these share their transforms."""
        return self.filters.weight.kept(tile.transformed)[0]
