"""Im2col: the patches under a convolution's kernel as channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.convolution import SpatialLayer
from caffe_gp.caffe.layers.registry import register


@register("Im2col")
class Im2colLayer(SpatialLayer):
    """(N, C, spatial...) to (N, C * elements of the kernel, output places...), over any number of axes."""

    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.read_geometry(bottom)
        if not self.dims:
            raise self.error(f"takes a bottom with spatial axes behind its channels, found {bottom[0].shape}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Channels times the kernel's elements, and the convolution's spatial size."""
        shape = bottom[0].shape
        out = self.conv_size(shape[self.axis + 1 :])
        if min(out) < 1:
            raise self.error(f"the kernel {self.kernel} does not fit into the bottom {shape}")
        top[0].reshape(*shape[: self.axis], shape[self.axis] * math.prod(self.kernel), *out)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The padded bottom, and the windows with what lies between their elements."""
        padded = [n + 2 * p for n, p in zip(bottom[0].shape[self.axis + 1 :], self.pad)]
        return bottom[0].count_from(0, self.axis + 1) * math.prod(padded) + top[0].count * max(self.dilation)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data_tensor = self._columns(bottom[0].data_tensor).view(top[0].shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        with torch.enable_grad():
            x = bottom[0].data_tensor.detach().requires_grad_()
            columns = self._columns(x)
            (dx,) = torch.autograd.grad(columns, x, top[0].diff_tensor.view(columns.shape))
        bottom[0].diff_tensor = dx

    def _columns(self, x: torch.Tensor) -> torch.Tensor:
        """A copy of what each element of the kernel sees: (N, C, kernel..., output places...)."""
        windows = F.pad(self.as_batch(x), [p for p in reversed(self.pad) for _ in range(2)])
        for axis, (k, s, d) in enumerate(zip(self.kernel, self.stride, self.dilation), 2):
            windows = windows.unfold(axis, d * (k - 1) + 1, s)[..., ::d]  # its kernel comes last
        places = list(range(2, 2 + self.dims))
        kernel = [axis + self.dims for axis in places]
        return windows.permute(0, 1, *kernel, *places).contiguous()
