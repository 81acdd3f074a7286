"""Normalize: every position, or every image, divided by its L2 norm and scaled (SSD, ParseNet)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb


@register("Normalize")
class NormalizeLayer(Layer):
    """``y = s x / n``, where n is the root of eps plus the sum of squares: over channels, one at a position.

    With ``across_spatial`` the sum goes over the whole image. ``blobs[0]`` is s: one number (shape ()), or
    with ``channel_shared: false`` one a channel (C,); 1 without a ``scale_filler``. 2 to 4 axes.

    The gradient is SSD's: ``s (dy - x sum(x dy) / n^2) / n`` with the channel's own s in front, which is the
    derivative only where all s are equal, and for s ``sum(y dy) / s``, which is none for s = 0. CPU and GPU
    code of the fork agree on it, and nets were trained with it.
    """

    exact_num_bottom = 1
    exact_num_top = 1
    reshapes_by_shape = True
    copies = 1
    not_derivative = "with a scale a channel"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.norm_param
        self._across, self._shared, self._eps = param.across_spatial, param.channel_shared, param.eps
        self._check_axes(bottom[0])
        if not self.blobs:
            blob = self.blobs.add_blob(*() if self._shared else (bottom[0].shape[1],))
            fill(blob, param.scale_filler if param.HasField("scale_filler") else pb.FillerParameter(value=1))
        self.param_propagate_down = [True]
        self._norm: torch.Tensor | None = None
        self._in_place: torch.Tensor | None = None  # what the bottom held

    def _check_axes(self, bottom: Blob) -> None:
        if not 2 <= len(bottom.shape) <= 4:
            raise self.error(f"the bottom must have 2 to 4 axes, found shape {bottom.shape}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The bottom's shape; the number of channels is fixed unless one scale is for all."""
        self._check_axes(bottom[0])
        shape, scale = bottom[0].shape, self.blobs[0].shape
        if scale != (() if self._shared else shape[1:2]):
            raise self.error(
                f"the bottom of shape {shape} does not suit the scale, a parameter of shape {scale}"
            )
        self._axes = list(range(1, len(shape))) if self._across else [1]
        self._view = (1, *scale, *(1 for _ in shape[2:])) if scale else ()
        top[0].reshape_like(bottom[0])

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The norms; in place the bottom, too."""
        shape = bottom[0].shape
        norms = shape[0] if self._across else bottom[0].count // max(shape[1], 1)
        return norms + (bottom[0].count if bottom[0] is top[0] else 0)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data_tensor
        self._norm = x.square().sum(self._axes, keepdim=True).add_(self._eps).sqrt_()
        self._in_place = x.clone() if bottom[0] is top[0] else None
        top[0].data_tensor = (x / self._norm).mul_(self.blobs[0].data_tensor.view(self._view))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """See the class."""
        dy, y = top[0].diff_tensor, top[0].data_tensor
        x = bottom[0].data_tensor if self._in_place is None else self._in_place
        norm, scale = self._norm, self.blobs[0].data_tensor
        if norm is None or x.shape != dy.shape or norm.shape[0] != x.shape[0]:
            raise self.error("backward needs a forward pass of the same shape first")
        if self.param_propagate_down[0]:
            others = [axis for axis in range(dy.dim()) if self._shared or axis != 1]
            self.blobs[0].diff_tensor.add_((y * dy).sum(others).div_(scale))
        if propagate_down[0]:
            dx = x * ((x * dy).sum(self._axes, keepdim=True) / norm.square()).neg_()
            bottom[0].diff_tensor = dx.add_(dy).mul_(scale.view(self._view)).div_(norm)
