"""When a Pooling layer is computed by ``fast.pooling``, and the bytes that it keeps for that."""

from __future__ import annotations

import torch

from caffe_gp.caffe import fast, mode
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.ways import diff_to_write
from caffe_gp.caffe.fast.windows import Geometry, Pair, Window, channels_last

#: Below that torch's pooling is as fast, and what it keeps is small.
LEAST_VALUES = 1 << 18
MOST_ELEMENTS = 255  # of a window: a byte counts them, and has one number for none


class MaxPooling:
    """The way of one layer with max pooling and one top."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._chosen: torch.Tensor | None = None

    @staticmethod
    def pays(kernel: Pair, blob: Blob) -> bool:
        """Whether it pays for these shapes."""
        large = blob.count >= LEAST_VALUES and kernel[0] * kernel[1] <= MOST_ELEMENTS
        return large and mode.device().type == "cpu" and fast.compiled()

    def forward(self, bottom: Blob, top: Blob, window: Window | None) -> None:
        """Data of the top, or of a part of it; keeps which elements were chosen."""
        from caffe_gp.caffe.fast import pooling

        self._shapes = bottom.shape, top.shape
        if self._chosen is None or self._chosen.shape != top.shape:
            self._chosen = torch.empty(top.shape, dtype=torch.uint8, memory_format=torch.channels_last)
            window = None
        x = channels_last(bottom.data_tensor)
        y = top.own_data(x)
        pooling.max_pool(x, y, self._chosen, geometry=self.geometry, window=window)
        top.data_tensor = y

    def is_of(self, bottom: Blob, top: Blob) -> bool:
        """Whether the last forward was of these shapes."""
        return self._shapes == (bottom.shape, top.shape)

    def backward(self, top: Blob, bottom: Blob, window: Window | None) -> None:
        """Diff of the bottom, or of a part of it, from the last forward's choice."""
        from caffe_gp.caffe.fast import pooling

        assert self._chosen is not None
        dy = channels_last(top.diff_tensor)
        dx = diff_to_write(bottom, window, dy)
        pooling.max_pool_backward(dy, self._chosen, dx, geometry=self.geometry, window=window)
        bottom.diff_tensor = dx
