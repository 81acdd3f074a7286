"""Convolutions of images of a few channels, as a net's first: in bands of rows, and the images' gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from caffe_gp.caffe import fast
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.ways import Filters, Way, diff_to_write
from caffe_gp.caffe.fast.wide_padding import fill_around
from caffe_gp.caffe.fast.windows import Geometry, Window, channels_last

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
        """Where an image has many outputs."""
        return blob.count > 0 and out.count_from(1) >= LEAST_OUTPUTS

    def pays_backward(self, blob: Blob, out: Blob) -> bool:
        """With many outputs."""
        kernel, stride, _, dilation = self.filters.geometry
        summed = out.shape[1] * kernel[1]
        plain = stride == (1, 1) == dilation and summed >= LEAST_SUMMED
        return plain and blob.count > 0 < out.count and fast.compiled()

    def workspace(self, blob: Blob, out: Blob) -> int:
        """A band; what it looks at is small."""
        return max(_BAND, out.shape[1] * out.shape[3])

    def forward(self, blob: Blob, out: Blob, window: Window | None, rectify: bool) -> bool:
        """Into the memory that the top has already."""
        _, stride, _, dilation = geometry = self.filters.geometry
        weight, bias = self.filters.weight.data_tensor, self.filters.bias_tensor()
        x = channels_last(blob.data_tensor)
        y = out.own_data(x)
        seen = self.seen(blob, out)
        wanted = Window.whole(out.shape) if window is None else window
        window = wanted.within(seen)
        if window != wanted:
            fill_around(seen, y, bias.relu() if rectify and bias is not None else bias)
        # Bands lie where they lie in all that sees the image, and are as wide: a window's have the same bits.
        rows = max(1, _BAND // (out.shape[1] * max(1, seen.right - seen.left)))
        start = seen.top + (window.top - seen.top) // rows * rows
        tops = range(start, window.bottom, rows) if window.bottom else range(0)
        for image, result in zip(x.split(1), y.split(1)):
            for top in tops:
                band = Window(top, min(top + rows, seen.bottom), seen.left, seen.right)
                outputs = F.conv2d(_looked_at(image, band, geometry), weight, bias, stride, 0, dilation)
                part = band.within(window)
                outputs, into = part.from_corner_of(band).of(outputs), part.of(result)
                torch.clamp_min(outputs, 0, out=into) if rectify else into.copy_(outputs)
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


def _looked_at(image: torch.Tensor, outputs: Window, geometry: Geometry) -> torch.Tensor:
    """All of an image that these outputs look at, with the padding."""
    kernel, stride, pad, dilation = geometry
    sides: list[int] = []
    for axis in (1, 0):  # as torch wants them; of an inner part negative
        first, end = outputs[2 * axis : 2 * axis + 2]
        begin = stride[axis] * first - pad[axis]
        last = stride[axis] * (end - 1) - pad[axis] + dilation[axis] * (kernel[axis] - 1)
        sides += [-begin, last + 1 - image.shape[2 + axis]]
    return F.pad(image, sides)
