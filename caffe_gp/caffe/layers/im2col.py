"""Im2col: the patches under a convolution's kernel as channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.convolution import SpatialLayer
from caffe_gp.caffe.layers.registry import register


@register("Im2col")
class Im2colLayer(SpatialLayer):
    """(N, C, H, W) to (N, C * kernel_h * kernel_w, out H, out W); one spatial axis works too."""

    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the geometry."""
        self.read_geometry(bottom)
        if self.dims > 2:
            raise self.error(f"one or two spatial axes are supported, the bottom is {bottom[0].shape}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Channels times the kernel's elements, and the convolution's spatial size."""
        shape = bottom[0].shape
        out = self.conv_size(shape[self.axis + 1 :])
        if min(out) < 1:
            raise self.error(f"the kernel {self.kernel} does not fit into the bottom {shape}")
        patch = self.kernel[0] * (self.kernel[1] if self.dims == 2 else 1)
        top[0].reshape(*shape[: self.axis], shape[self.axis] * patch, *out)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Copy the patches out."""
        x = self._plane(bottom[0].data_tensor, bottom[0].shape)
        top[0].data_tensor = F.unfold(x, **self._geometry()).reshape(top[0].shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Sum each element's diffs over the patches that hold it."""
        if propagate_down[0]:
            plane = self._plane(bottom[0].data_tensor, bottom[0].shape)
            columns = top[0].diff_tensor.reshape(plane.shape[0], top[0].shape[self.axis], -1)
            dx = F.fold(columns, plane.shape[2:], **self._geometry())
            bottom[0].diff_tensor = dx.reshape(bottom[0].shape)

    def _plane(self, values, shape):
        """(N, C, H, W), with H = 1 where there is one spatial axis."""
        sizes = shape[self.axis + 1 :] if self.dims == 2 else (1, *shape[self.axis + 1 :])
        return values.reshape(-1, shape[self.axis], *sizes)

    def _geometry(self) -> dict[str, list[int]]:
        one, zero = ([], []) if self.dims == 2 else ([1], [0])
        return {
            "kernel_size": one + self.kernel,
            "dilation": one + self.dilation,
            "padding": zero + self.pad,
            "stride": one + self.stride,
        }
