"""BN: the batch normalisation of SegNet and ENet, and PSPNet's (forks; BVLC's own is BatchNorm + Scale)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.base import TEST, Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb

SEGNET_EPS = 1e-9


@register("BN")
class BNLayer(Layer):
    """``scale * (x - mean) / sqrt(var + eps) + shift`` over channels, blobs of shape (1, C, 1, 1).

    SegNet and ENet: two blobs, scale and shift. ``bn_mode: INFERENCE`` applies them to x itself (the
    statistics were folded into them), ``LEARN`` uses the batch's own statistics.
    PSPNet (told by its fields ``slope_filler``, ``bias_filler``, ``momentum`` or ``frozen``): two more
    blobs, the running mean and variance, which TEST phase and ``frozen`` use.
    """

    copies = 3
    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.bn_param
        self._keeps_statistics = any(
            param.HasField(field) for field in ("slope_filler", "bias_filler", "momentum", "frozen")
        )
        self._momentum = param.momentum
        self._eps = param.eps if self._keeps_statistics or param.HasField("eps") else SEGNET_EPS
        if self._keeps_statistics:
            self._fixed = self.phase == TEST or param.frozen
        else:
            self._fixed = param.bn_mode == pb.BNParameter.INFERENCE
        if not self.blobs:
            shape = (1, bottom[0].shape[1], 1, 1)
            fillers = (
                (param.slope_filler, param.bias_filler)
                if self._keeps_statistics
                else (param.scale_filler, param.shift_filler)
            )
            for filler, given, default in zip(fillers, _given(param, self._keeps_statistics), (1.0, 0.0)):
                fill(self.blobs.add_blob(*shape), filler if given else pb.FillerParameter(value=default))
            if self._keeps_statistics:
                self.blobs.add_blob(*shape)
                fill(self.blobs.add_blob(*shape), pb.FillerParameter(value=1.0))
        self.param_propagate_down = [True, True, False, False][: len(self.blobs)]

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom[0].shape) != 4 or bottom[0].shape[1] != self.blobs[0].shape[1]:
            raise self.error(f"expected (N, {self.blobs[0].shape[1]}, H, W), found {bottom[0].shape}")
        top[0].reshape_like(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Keeps the normalised values for backward where a gradient may be wanted."""
        x = bottom[0].data_tensor
        scale, shift = self.blobs[0].data_tensor, self.blobs[1].data_tensor
        if self._fixed and not self._keeps_statistics:
            self._normalised, self._inverse_std = x.clone(), torch.ones_like(scale)
        else:
            mean, variance = self._statistics(x)
            self._inverse_std = (variance + self._eps).rsqrt()
            self._normalised = (x - mean).mul_(self._inverse_std)
        top[0].data_tensor = torch.addcmul(shift, self._normalised, scale)

    def _statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._fixed:
            return self.blobs[2].data_tensor, self.blobs[3].data_tensor
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
        if self._keeps_statistics:
            for blob, value in ((self.blobs[2], mean), (self.blobs[3], variance)):
                blob.data_tensor.mul_(self._momentum).add_(value, alpha=1 - self._momentum)
        return mean, variance

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Through the statistics too where they are the batch's own."""
        dy, axes = top[0].diff_tensor, (0, 2, 3)
        if self.param_propagate_down[0]:
            self.blobs[0].diff_tensor.add_((dy * self._normalised).sum(axes, keepdim=True))
        if self.param_propagate_down[1]:
            self.blobs[1].diff_tensor.add_(dy.sum(axes, keepdim=True))
        if propagate_down[0]:
            g = dy * self.blobs[0].data_tensor
            if not self._fixed:
                g = (
                    g
                    - g.mean(axes, keepdim=True)
                    - self._normalised * (g * self._normalised).mean(axes, keepdim=True)
                )
            bottom[0].diff_tensor = g * self._inverse_std


def _given(param: object, keeps_statistics: bool) -> tuple[bool, bool]:
    names = ("slope_filler", "bias_filler") if keeps_statistics else ("scale_filler", "shift_filler")
    return param.HasField(names[0]), param.HasField(names[1])  # type: ignore[attr-defined]
