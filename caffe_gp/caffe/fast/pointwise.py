"""Convolutions with 1 x 1 kernels: one matrix product, into the memory that the top has already.

torch's convolution is as fast, but takes new memory for every result, which costs as long as a small product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.ways import Filters, Way, add_bias_gradient, rows_of
from caffe_gp.caffe.fast.windows import Geometry, Window, channels_last


class Pointwise(Way):
    """Kernels of 1 x 1 without stride and padding, one group."""

    @classmethod
    def suits(cls, filters: Filters, learns: bool) -> bool:
        """Whatever the channels are."""
        return (
            filters.geometry._replace(dilation=(1, 1)) == Geometry((1, 1), (1, 1), (0, 0))
            and filters.group == 1
        )

    def pays(self, blob: Blob, out: Blob) -> bool:
        """Always."""
        return out.count > 0

    def forward(self, blob: Blob, out: Blob, window: Window | None, rectify: bool) -> bool:
        """Of all places."""
        x = channels_last(blob.data_tensor)
        y = out.own_data(x)
        weight, bias = self.filters.weight.data_tensor.flatten(1).t(), self.filters.bias_tensor()
        if bias is None:
            torch.mm(rows_of(x), weight, out=rows_of(y))
        else:
            torch.addmm(bias, rows_of(x), weight, out=rows_of(y))
        out.data_tensor = y
        return True

    def data_gradient(self, blob: Blob, out: Blob, window: Window | None) -> bool:
        """Of all places."""
        dy = channels_last(out.diff_tensor)
        dx = blob.own_diff(dy)
        torch.mm(rows_of(dy), self.filters.weight.data_tensor.flatten(1), out=rows_of(dx))
        blob.diff_tensor = dx
        return True

    def parameter_gradients(self, blob: Blob, out: Blob, learns: Sequence[bool]) -> bool:
        """The same product, over the places."""
        if learns[0]:
            dw = self.filters.weight.diff_tensor.flatten(1)
            dw.addmm_(rows_of(out.diff_tensor).t(), rows_of(blob.data_tensor))
        if learns[1]:
            add_bias_gradient(self.filters, out.diff_tensor)
        return True
