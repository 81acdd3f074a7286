"""Convolutions of small images on the CPU: one matrix product an image, without oneDNN.

Preparing oneDNN's kernels takes longer than a small convolution itself, and its gradient of an image of one
to four channels computes as if there were sixteen. torch has the plain way too, and takes it by itself for
some shapes: an image's patches in a matrix, times the weights, as BVLC Caffe does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.ways import Filters, Way
from caffe_gp.caffe.fast.windows import Window

MOST = 128 * 1024  # values of the patches, of all images: about where oneDNN becomes as fast (measured)
FEW_CHANNELS = 4  # with up to so many
MOST_BACKWARD = 1 << 21  # values of the patches of an image for its gradient (measured)


class FewPatches(Way):
    """One group and no dilation."""

    @classmethod
    def suits(cls, filters: Filters, learns: bool) -> bool:
        """Kernels of 1 x 1 need no patches in oneDNN. Weights learn from batches: too many."""
        geometry = filters.geometry
        small = max(geometry.kernel) > 1 and max(geometry.dilation) == 1 and filters.group == 1
        return small and not learns

    def pays(self, blob: Blob, out: Blob) -> bool:
        """While there are few values in the patches."""
        return 0 < self.workspace(blob, out) <= MOST

    def pays_backward(self, blob: Blob, out: Blob) -> bool:
        """For more of them, and for any number of images, where there are few channels."""
        kernel, _, pad, _ = self.filters.geometry
        narrow = all(p < k for p, k in zip(pad, kernel))  # else much of the patches is padding
        few = blob.shape[1] <= FEW_CHANNELS and self.workspace(blob, out) <= MOST_BACKWARD * blob.shape[0]
        return self.pays(blob, out) or (few and narrow and blob.count > 0)

    def workspace(self, blob: Blob, out: Blob) -> int:
        """The patches."""
        return out.count // out.shape[1] * self.filters.weight.count_from(1)

    def forward(self, blob: Blob, out: Blob, window: Window | None, rectify: bool) -> bool:
        """Of all places."""
        kernel, stride, pad, _ = self.filters.geometry
        x, weight = blob.data_tensor.contiguous(), self.filters.weight.data_tensor
        bias = self.filters.bias_tensor()
        out.data_tensor = torch.ops.aten.thnn_conv2d(x, weight, kernel, bias, stride, pad)
        return True

    def data_gradient(self, blob: Blob, out: Blob, window: Window | None) -> bool:
        """Of all places."""
        blob.diff_tensor = self._gradients(blob, out, [True, False, False])[0]
        return True

    def parameter_gradients(self, blob: Blob, out: Blob, learns: Sequence[bool]) -> bool:
        """Both at once, where the whole layer goes this way."""
        if not self.pays(blob, out):
            return False
        _, dw, db = self._gradients(blob, out, [False, *learns])
        for parameter, gradient, learned in zip(self.filters[:2], (dw, db), learns):
            if learned:
                assert parameter is not None
                parameter.diff_tensor.add_(gradient)
        return True

    def _gradients(self, blob: Blob, out: Blob, wanted: list[bool]) -> tuple[torch.Tensor, ...]:
        kernel, stride, pad, _ = self.filters.geometry
        backward = torch.ops.aten._slow_conv2d_backward.output_mask
        dy, x = out.diff_tensor.contiguous(), blob.data_tensor.contiguous()
        return backward(dy, x, self.filters.weight.data_tensor, kernel, stride, pad, wanted)
