"""Interp: DeepLab's bilinear resize with aligned corners."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.images.interpolation import Interp
from caffe_gp.proto.set_fields import set_fields


@register("Interp")
class InterpLayer(Layer):
    """One bilinear resample to the final size, which ``caffe_gp.images.interpolation`` gives."""

    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        fields = set_fields(self.layer_param.interp_param)
        try:
            self._rule = Interp(**fields)
        except ValueError as error:
            raise self.error(str(error)) from None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(N, C, resized H, resized W)."""
        if len(bottom[0].shape) != 4:
            raise self.error(f"the bottom must have 4 axes, found {bottom[0].shape}")
        n, c, *size = bottom[0].shape
        try:
            out = self._rule.output_size(size)
        except ValueError as error:
            raise self.error(str(error)) from None
        top[0].reshape(n, c, *out)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        rows, columns = self._rule.crop(bottom[0].shape[2:])
        x, out = bottom[0].data_tensor[:, :, rows, columns], top[0].shape[2:]
        same = x.shape[2:] == out
        top[0].data_tensor = x.clone() if same else F.interpolate(x, out, mode="bilinear", align_corners=True)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The adjoint of the resample."""
        if not propagate_down[0]:
            return
        dy = top[0].diff_tensor
        n, c, height, width = bottom[0].shape
        begin, end = -self._rule.pad_beg, -self._rule.pad_end
        size = [height - begin - end, width - begin - end]
        if list(dy.shape[2:]) == size:
            dx = dy.clone()
        else:
            dx = torch.ops.aten.upsample_bilinear2d_backward(
                dy.contiguous(), list(dy.shape[2:]), [n, c, *size], True, None, None
            )
        if begin or end:
            dx = F.pad(dx, (begin, end, begin, end))
        bottom[0].diff_tensor = dx
