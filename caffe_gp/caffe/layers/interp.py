"""Interp: DeepLab's bilinear resize with aligned corners."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("Interp")
class InterpLayer(Layer):
    """One bilinear resample from the input to the final size; pads are <= 0 and crop the input first.

    Size: ``(n - 1) / shrink + 1``, then ``n + (n - 1) * (zoom - 1)``, or ``height`` x ``width`` as given.
    """

    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check that one of the four ways to give the size was used."""
        param = self.layer_param.interp_param
        self._crop = (-param.pad_beg, -param.pad_end)
        if min(self._crop) < 0:
            raise self.error(f"Only supports non-pos padding (cropping): {param.pad_beg}, {param.pad_end}")
        self._shrink = param.shrink_factor if param.HasField("shrink_factor") else None
        self._zoom = param.zoom_factor if param.HasField("zoom_factor") else None
        self._size = (
            (param.height, param.width) if param.HasField("height") and param.HasField("width") else None
        )
        if self._shrink is None and self._zoom is None and self._size is None:
            raise self.error("interp_param needs shrink_factor, zoom_factor, or height and width")
        for field, value in (("shrink_factor", self._shrink), ("zoom_factor", self._zoom)):
            if value is not None and value < 1:
                raise self.error(f"{field} must be positive, found {value}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(N, C, resized H, resized W)."""
        if len(bottom[0].shape) != 4:
            raise self.error(f"the bottom must have 4 axes, found {bottom[0].shape}")
        n, c, *sizes = bottom[0].shape
        self._sizes = [size - sum(self._crop) for size in sizes]
        out = [self._resized(size) for size in self._sizes]
        if self._size is not None and self._shrink is None and self._zoom is None:
            out = list(self._size)
        if min(*self._sizes, *out) < 1:
            raise self.error(
                f"input {bottom[0].shape} cropped by {self._crop} gives the output size {tuple(out)}"
            )
        top[0].reshape(n, c, *out)

    def _resized(self, size: int) -> int:
        if self._shrink is not None:
            size = (size - 1) // self._shrink + 1
        if self._zoom is not None:
            size = size + (size - 1) * (self._zoom - 1)
        return size

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Resample, or copy where the size stays."""
        x, out = self._cropped(bottom[0].data_tensor), top[0].shape[2:]
        same = list(out) == self._sizes
        top[0].data_tensor = x.clone() if same else F.interpolate(x, out, mode="bilinear", align_corners=True)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The adjoint of the resample."""
        if not propagate_down[0]:
            return
        dy = top[0].diff_tensor
        n, c = dy.shape[:2]
        if list(dy.shape[2:]) == self._sizes:
            dx = dy.clone()
        else:
            dx = torch.ops.aten.upsample_bilinear2d_backward(
                dy.contiguous(), list(dy.shape[2:]), [n, c, *self._sizes], True, None, None
            )
        if any(self._crop):
            begin, end = self._crop
            dx = F.pad(dx, (begin, end, begin, end))
        bottom[0].diff_tensor = dx

    def _cropped(self, x: torch.Tensor) -> torch.Tensor:
        begin = self._crop[0]
        return x[:, :, begin : begin + self._sizes[0], begin : begin + self._sizes[1]]
