"""Convolutions whose padding is wider than their kernel: of the outputs, most see the image or zeros only.

FCNs pad the image by 100. Outputs whose kernel lies wholly in the padding are the bias; the others come from
a convolution of the image with as much padding as the kernel reaches over.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.ways import Filters, Way, add_bias_gradient
from caffe_gp.caffe.fast.windows import Geometry, Pair, Window, channels_last


class WidePadding(Way):
    """Stride 1, and on both axes more padding than the kernel reaches over; any number of groups."""

    @classmethod
    def suits(cls, filters: Filters, learns: bool) -> bool:
        """By the geometry alone."""
        wide = all(pad > reach for pad, reach in zip(filters.geometry.pad, _reach(filters.geometry)))
        return wide and filters.geometry.stride == (1, 1)

    def pays(self, blob: Blob, out: Blob) -> bool:
        """Always."""
        return blob.count > 0 < out.count

    def forward(self, blob: Blob, out: Blob, window: Window | None, rectify: bool) -> bool:
        """Of all places."""
        filters, x = self.filters, channels_last(blob.data_tensor)
        y, bias = out.own_data(x), filters.bias_tensor()
        reach, dilation = _reach(filters.geometry), filters.geometry.dilation
        seen = self.seen(blob, out)
        fill_around(seen, y, bias)
        seen.of(y).copy_(F.conv2d(x, filters.weight.data_tensor, bias, 1, reach, dilation, filters.group))
        out.data_tensor = y
        return True

    def data_gradient(self, blob: Blob, out: Blob, window: Window | None) -> bool:
        """From the outputs that see the image."""
        blob.diff_tensor = self._gradients(blob, out, [True, False, False])[0]
        return True

    def parameter_gradients(self, blob: Blob, out: Blob, learns: Sequence[bool]) -> bool:
        """The weights' from the outputs that see the image, the bias' from all."""
        if learns[0]:
            self.filters.weight.diff_tensor.add_(self._gradients(blob, out, [False, True, False])[1])
        if learns[1]:
            add_bias_gradient(self.filters, out.diff_tensor)
        return True

    def _gradients(self, blob: Blob, out: Blob, wanted: list[bool]) -> tuple[torch.Tensor, ...]:
        weight, _, geometry, group = self.filters
        dy, x = channels_last(self.seen(blob, out).of(out.diff_tensor)), channels_last(blob.data_tensor)
        pad, dilation, w = _reach(geometry), geometry.dilation, weight.data_tensor
        return torch.ops.aten.convolution_backward(
            dy, x, w, None, [1, 1], pad, dilation, False, [0, 0], group, wanted
        )


def fill_around(window: Window, y: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Fill all outside the window with the bias: outputs that see zeros only."""
    offsets = y.new_zeros(1) if bias is None else bias.view(1, -1, 1, 1)
    top, bottom, left, right = window
    rows = y[:, :, top:bottom]
    for border in (y[:, :, :top], y[:, :, bottom:], rows[..., :left], rows[..., right:]):
        border.copy_(offsets)


def _reach(geometry: Geometry) -> Pair:
    (kh, kw), (dh, dw) = geometry.kernel, geometry.dilation
    return dh * (kh - 1), dw * (kw - 1)
