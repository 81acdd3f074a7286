"""Convolutions with more outputs than places, as an FCN's fc6 and fc7: one product of weights and patches.

So does BVLC Caffe. torch's convolution would first copy all weights into a layout of its own, every time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.ways import Filters, Way, add_bias_gradient
from caffe_gp.caffe.fast.windows import Pair, Window

_ROWS = 512  # measured: the product of 4096 x 25088 and 25088 x 256 takes 0.9 of the time


class PatchProduct(Way):
    """Any kernel, one group."""

    @classmethod
    def suits(cls, filters: Filters, learns: bool) -> bool:
        """Whatever the kernel is."""
        return filters.group == 1

    def pays(self, blob: Blob, out: Blob) -> bool:
        """With fewer places in an image than outputs, however many images there are."""
        return 0 < out.count_from(2) < out.shape[1] and out.count > 0

    def workspace(self, blob: Blob, out: Blob) -> int:
        """The patches, and the outputs before their axes are in order."""
        patches = self.filters.weight.count_from(1) * out.count // out.shape[1]
        return patches * (1 if blob.shape[0] == 1 else 2) + out.count

    def forward(self, blob: Blob, out: Blob, window: Window | None, rectify: bool) -> bool:
        """Of all places."""
        y = product(self.filters.weight.data_tensor.flatten(1), self._patches(blob))
        if self.filters.bias is not None:
            y += self.filters.bias.data_tensor.unsqueeze(1)
        n, channels, *sizes = out.shape
        out.data_tensor = y.view(channels, n, *sizes).transpose(0, 1).contiguous()
        return True

    def data_gradient(self, blob: Blob, out: Blob, window: Window | None) -> bool:
        """The patches' gradients, added up where they overlap."""
        weight = self.filters.weight.data_tensor.flatten(1)
        columns = (weight.t() @ _rows(out)).view(weight.shape[1], blob.shape[0], -1).transpose(0, 1)
        blob.diff_tensor = F.fold(columns, blob.shape[2:], *self._geometry)
        return True

    def parameter_gradients(self, blob: Blob, out: Blob, learns: Sequence[bool]) -> bool:
        """The product of diffs and patches."""
        if learns[0]:
            self.filters.weight.diff_tensor.flatten(1).addmm_(_rows(out), self._patches(blob).t())
        if learns[1]:
            add_bias_gradient(self.filters, out.diff_tensor)
        return True

    @property
    def _geometry(self) -> tuple[Pair, Pair, Pair, Pair]:
        """As torch's fold takes it."""
        geometry = self.filters.geometry
        return geometry.kernel, geometry.dilation, geometry.pad, geometry.stride

    def _patches(self, blob: Blob) -> torch.Tensor:
        """(channels * kernel elements, N * output places)."""
        return F.unfold(blob.data_tensor, *self._geometry).transpose(0, 1).flatten(1)


def _rows(out: Blob) -> torch.Tensor:
    """The diffs (outputs, N * places)."""
    return out.diff_tensor.transpose(0, 1).flatten(1)


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a @ b`` of two matrices, by blocks of rows."""
    rows = a.shape[0]
    if rows <= _ROWS:
        return a @ b
    result = a.new_empty((rows, b.shape[1]))
    for start in range(0, rows, _ROWS):
        torch.mm(a[start : start + _ROWS], b, out=result[start : start + _ROWS])
    return result
