"""When a layer of 7 x 7 kernels, as an FCN's fc6, is computed by Winograd's convolution, and what is kept."""

from __future__ import annotations

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast import winograd_7
from caffe_gp.caffe.fast.patch_product import PatchProduct
from caffe_gp.caffe.fast.ways import Filters
from caffe_gp.caffe.fast.windows import Geometry, Window, channels_last

#: Measured on AVX2 (docs/performance.md): with fewer channels or outputs the transforms cost what the
#: products save, with fewer tiles an image it is reading the transformed kernels that takes the time.
LEAST_CHANNELS = 256
LEAST_TILES = 32


class Winograd7Layer(PatchProduct):
    """7 x 7 kernels, stride 1, any pad, no dilation, one group. False where results are not finite.

    The parameters' gradients are those of the product.
    """

    keeps_weights = True

    @classmethod
    def suits(cls, filters: Filters, learns: bool) -> bool:
        """With many channels; while weights learn, their transforms would be made anew in every pass."""
        size = winograd_7.SIZE
        plain = filters.geometry._replace(pad=(0, 0)) == Geometry((size, size), (1, 1), (0, 0))
        many = min(filters.weight.shape[:2]) >= LEAST_CHANNELS
        return plain and many and filters.group == 1 and not learns

    def pays(self, blob: Blob, out: Blob) -> bool:
        """With many tiles of two in an image, however many images there are, where the product would pay.

        Not where somebody has a view of weights too many to compare: they would be transformed in every pass.
        """
        rows, width = out.shape[2:]
        enough = width > 1 and rows * winograd_7.tiles(width) >= LEAST_TILES
        return super().pays(blob, out) and enough and self.filters.weight.can_keep

    def whole(self, window: Window, out: Blob) -> Window:
        """The window and what shares tiles with it, which lie along the width."""
        left, right = window.left // 2 * 2, min(-(-window.right // 2) * 2, out.shape[3])
        return window._replace(left=left, right=right)

    def workspace(self, blob: Blob, out: Blob) -> int:
        """Of one image."""
        return winograd_7.workspace(blob.shape[1], out.shape[1], out.shape[2], out.shape[3])

    def kept(self) -> int:
        """The transformed kernels: 63 values for 49."""
        return self.filters.weight.count // 49 * 63

    def forward(self, blob: Blob, out: Blob, window: Window | None, rectify: bool) -> bool:
        """Of all places, into the memory that the top has already."""
        x, pad, bias = channels_last(blob.data_tensor), self.filters.geometry.pad, self.filters.bias_tensor()
        y = out.own_data(x)
        if not winograd_7.convolve(x, self._kernels(), y, pad=pad, bias=bias):
            return False
        out.data_tensor = y
        return True

    def data_gradient(self, blob: Blob, out: Blob, window: Window | None) -> bool:
        """Of all places, from the same transformed kernels."""
        dy, pad = channels_last(out.diff_tensor), self.filters.geometry.pad
        dx = blob.own_diff(dy)
        if not winograd_7.data_gradient(dy, self._kernels(), dx, pad=pad):
            return False
        blob.diff_tensor = dx
        return True

    def _kernels(self) -> torch.Tensor:
        """Kept with the weights: layers that share these share their transforms."""
        return self.filters.weight.kept(winograd_7.transformed)[0]
