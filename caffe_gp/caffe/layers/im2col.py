"""Im2col: the patches under a convolution's kernel as channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.convolution import CONV, CONV_TRANSPOSE, SpatialLayer
from caffe_gp.caffe.layers.registry import register


@register("Im2col")
class Im2colLayer(SpatialLayer):
    """(N, C, spatial...) to (N, C * elements of the kernel, output places...).

    Done as a convolution whose filters each pick one element of the kernel, so that it works over as many
    axes as Convolution does.
    """

    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.read_geometry(bottom)
        if self.dims not in CONV:
            raise self.error(f"takes 1 to 3 spatial axes, the bottom {bottom[0].shape} has {self.dims}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Channels times the kernel's elements, and the convolution's spatial size."""
        shape = bottom[0].shape
        out = self.conv_size(shape[self.axis + 1 :])
        if min(out) < 1:
            raise self.error(f"the kernel {self.kernel} does not fit into the bottom {shape}")
        self._channels = shape[self.axis]
        top[0].reshape(*shape[: self.axis], self._channels * math.prod(self.kernel), *out)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        return self._channels * math.prod(self.kernel) ** 2

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = self.as_batch(bottom[0].data_tensor)
        y = CONV[self.dims](x, self._pickers(x), None, self.stride, self.pad, self.dilation, self._channels)
        top[0].data_tensor = y.reshape(top[0].shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy = self.as_batch(top[0].diff_tensor)
        sizes = bottom[0].shape[self.axis + 1 :]
        reached = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(dy.shape[2:], self.stride, self.pad, self.dilation, self.kernel)
        ]
        beyond = [size - end for size, end in zip(sizes, reached)]  # elements that no window starts at
        dx = CONV_TRANSPOSE[self.dims](
            dy, self._pickers(dy), None, self.stride, self.pad, beyond, self._channels, self.dilation
        )
        bottom[0].diff_tensor = dx.reshape(bottom[0].shape)

    def _pickers(self, like: torch.Tensor) -> torch.Tensor:
        elements = math.prod(self.kernel)
        one = torch.eye(elements, device=like.device).view(elements, 1, *self.kernel)
        return one.repeat(self._channels, *[1] * (self.dims + 1))
