"""Convolutions of images of a few channels, as a net's first: in bands of rows, and the images' gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from caffe_gp.caffe import fast
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.ways import Filters, Way, diff_to_write
from caffe_gp.caffe.fast.windows import Window, channels_last

MOST_CHANNELS = 4
#: Values of an image's outputs, from which on the system gives their memory anew in every pass, page by page:
#: that takes longer than the convolution.
LEAST_OUTPUTS = 1 << 22
#: Values of a row of the kernel over all outputs, for the gradient: sums of fewer are too short (measured).
LEAST_SUMMED = 160
_BAND = 1 << 20  # outputs that are computed together: their memory is there already, and in the cache


class FewChannels(Way):
    """One group. Forward any stride, pad and dilation; the gradient with stride 1 and no dilation."""

    rectifies = True

    @classmethod
    def suits(cls, filters: Filters, learns: bool) -> bool:
        """Up to four channels, as images have them."""
        return filters.group == 1 and filters.weight.shape[1] <= MOST_CHANNELS and not learns

    def pays(self, blob: Blob, out: Blob) -> bool:
        """For large outputs."""
        return blob.count > 0 and out.count_from(1) >= LEAST_OUTPUTS

    def pays_backward(self, blob: Blob, out: Blob) -> bool:
        """With many outputs."""
        kernel, stride, _, dilation = self.filters.geometry
        summed = out.shape[1] * kernel[1]
        plain = stride == (1, 1) == dilation and summed >= LEAST_SUMMED
        return plain and blob.count > 0 < out.count and fast.compiled()

    def workspace(self, blob: Blob, out: Blob) -> int:
        """A band, and an image with its padding."""
        pad = self.filters.geometry.pad
        height, width = (n + 2 * p for n, p in zip(blob.shape[2:], pad))
        return _BAND + blob.shape[1] * height * width

    def forward(self, blob: Blob, out: Blob, window: Window | None, rectify: bool) -> bool:
        """Into the memory that the top has already."""
        _, stride, pad, dilation = self.filters.geometry
        weight, bias = self.filters.weight.data_tensor, self.filters.bias_tensor()
        x = channels_last(blob.data_tensor)
        y = out.own_data(x)
        top, bottom, left, right = Window.whole(out.shape) if window is None else window
        # Bands lie where they lie in the whole image, and are as wide: a window's results have the same bits.
        rows = max(1, _BAND // (out.shape[1] * out.shape[3]))
        seen = dilation[0] * (weight.shape[2] - 1) + 1
        for image, result in zip(x.split(1), y.split(1)):
            padded = F.pad(image, (pad[1], pad[1], pad[0], pad[0]))
            for first in range(top // rows * rows, bottom, rows):
                end = min(first + rows, out.shape[2])
                read = padded[:, :, first * stride[0] : (end - 1) * stride[0] + seen]
                band = F.conv2d(read, weight, bias, stride, 0, dilation)
                begin, until = max(first, top), min(end, bottom)
                part = band[:, :, begin - first : until - first, left:right]
                into = result[:, :, begin:until, left:right]
                torch.clamp_min(part, 0, out=into) if rectify else into.copy_(part)
        out.data_tensor = y
        return True

    def data_gradient(self, blob: Blob, out: Blob, window: Window | None) -> bool:
        """Of the window."""
        from caffe_gp.caffe.fast import few_channels

        dy = channels_last(out.diff_tensor)
        dx = diff_to_write(blob, window, dy)
        weights = self.filters.weight.kept(few_channels.flipped)[0]
        few_channels.data_gradient(dy, weights, dx, self.filters.geometry.pad, window)
        blob.diff_tensor = dx
        return True
