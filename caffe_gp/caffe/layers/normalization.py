"""Softmax, BatchNorm and MVN: layers that normalise over axes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.base import TEST, Layer, scaled
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb
from caffe_gp.proto.batch_norm import SMALLEST_EPS, STATISTICS, has_scale_and_bias

log = logging.getLogger(__name__)
_PHASE_DECIDES = (
    "use_global_stats has no effect beside a scale and a bias of its own, as in NVIDIA Caffe: TEST takes the "
    "moving statistics, TRAIN those of the batch"
)


def softmax(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Softmax along ``axis``, in the memory layout of ``x`` (torch's kernel alone would make it NCHW)."""
    if x.dim() == 4 and axis == 1 and not x.is_contiguous():
        return torch.softmax(x.permute(0, 2, 3, 1), 3).permute(0, 3, 1, 2)
    return torch.softmax(x, axis)


@register("Softmax")
class SoftmaxLayer(Layer):
    """``exp(x) / sum exp(x)`` along ``axis`` (default 1), the maximum subtracted first."""

    exact_num_bottom = 1
    exact_num_top = 1
    reshapes_by_shape = True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._axis = bottom[0].canonical_axis(self.layer_param.softmax_param.axis)
        top[0].reshape_like(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data_tensor = softmax(bottom[0].data_tensor, self._axis)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``dx = y (dy - sum dy y)``."""
        if propagate_down[0]:
            dy, y = top[0].diff_tensor, top[0].data_tensor
            bottom[0].diff_tensor = (dy - (dy * y).sum(self._axis, keepdim=True)).mul_(y)


@register("BatchNorm")
class BatchNormLayer(Layer):
    """``(x - mean) / sqrt(var + eps)`` for each channel; no scale or shift of its own.

    ``blobs``: sums of the means (C,) and of the unbiased variances (C,), decayed by
    ``moving_average_fraction`` at each training pass, and (1,) the sum of the decayed weights that both
    must be divided by. Global statistics are used at TEST unless ``use_global_stats`` says otherwise.

    With a scale and a bias (NVIDIA Caffe: ``scale_bias``, ``scale_filler`` or ``bias_filler``)
    ``scale * (x - mean) / sqrt(var + eps) + bias``, eps at least 1e-5, and two more blobs (C,). The phase
    alone decides between statistics. They are moving averages, the third blob is 1; the first training pass
    takes the batch's own.
    """

    exact_num_bottom = 1
    exact_num_top = 1
    reshapes_by_shape = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Create the statistics and keep solvers away from them: their lr_mult is 0."""
        param = self.layer_param.batch_norm_param
        self._affine = has_scale_and_bias(param)
        given = param.HasField("use_global_stats") and not self._affine
        self._use_global = param.use_global_stats if given else self.phase == TEST
        self.keeps_places = self._use_global
        if self._affine and param.HasField("use_global_stats") and param.use_global_stats != self._use_global:
            log.warning("layer '%s' (BatchNorm): %s", self.name, _PHASE_DECIDES)
        self._eps = max(param.eps, SMALLEST_EPS) if self._affine else param.eps
        self._fraction, self._passes = param.moving_average_fraction, 0
        if param.stats_batch_size and not self._use_global:
            raise self.error(
                "batch_norm_param.stats_batch_size is Intel Caffe's: statistics of parts of a batch are not "
                "available here"
            )
        if len(bottom[0].shape) < 2:
            raise self.error(f"needs a bottom with a channel axis, found shape {bottom[0].shape}")
        self._channels = bottom[0].shape[1]
        if not self.blobs:
            self._create_blobs(param)
        for i in range(STATISTICS):
            if len(self.layer_param.param) == i:
                self.layer_param.param.add().lr_mult = 0
            elif self.layer_param.param[i].lr_mult != 0:
                raise self.error(
                    f"param {i} has lr_mult {self.layer_param.param[i].lr_mult:g}; the statistics are not "
                    "learned by a solver, expected lr_mult: 0"
                )
        self.param_propagate_down = [True] * len(self.blobs)
        self._std: torch.Tensor | None = None
        self._normalized: torch.Tensor | None = None

    def _create_blobs(self, param: Any) -> None:
        for count in (self._channels, self._channels, 1):
            self.blobs.add_blob(count)
        if self._affine:
            fill(self.blobs[2], pb.FillerParameter(value=1))
            scale = param.scale_filler if param.HasField("scale_filler") else pb.FillerParameter(value=1)
            for filler in (scale, param.bias_filler):
                fill(self.blobs.add_blob(self._channels), filler)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The top has the bottom's shape; the number of channels is fixed."""
        shape = bottom[0].shape
        if len(shape) < 2 or shape[1] != self._channels:
            raise self.error(f"expected {self._channels} channels on axis 1, found shape {shape}")
        self._view = (1, self._channels) + (1,) * (len(shape) - 2)
        self._axes = [0, *range(2, len(shape))]
        top[0].reshape_like(bottom[0])

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The normalised values, with batch statistics and for the diff of a scale."""
        return bottom[0].count if self._keeps_normalized() else 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """With batch statistics also update the moving sums."""
        x = bottom[0].data_tensor
        in_place = bottom[0] is top[0]
        if self._use_global:
            weight = self.blobs[2].data_tensor
            factor = torch.where(weight == 0, weight, 1 / weight)
            mean, variance = (scaled(blob.data_tensor, factor) for blob in self.blobs[:2])
        else:
            mean = x.mean(self._axes)
        centred = torch.sub(x, mean.view(self._view), out=x if in_place else None)
        if not self._use_global:
            variance = centred.square().mean(self._axes)
            self._update_statistics(mean, variance, x.numel() // self._channels)
        self._std = (variance + self._eps).sqrt_().view(self._view)
        y = centred.div_(self._std)
        # A copy: layers that work in place on the top (Scale, ReLU) come before our backward.
        self._normalized = y.clone() if self._keeps_normalized() else None
        if self._affine:
            scale, bias = (blob.data_tensor.view(self._view) for blob in self.blobs[STATISTICS:])
            y.mul_(scale).add_(bias)
        if not in_place:
            top[0].data_tensor = y

    def _keeps_normalized(self) -> bool:
        return not self._use_global or self._affine and self.param_propagate_down[STATISTICS]

    def _update_statistics(self, mean: torch.Tensor, variance: torch.Tensor, samples: int) -> None:
        unbiased = samples / (samples - 1) if samples > 1 else 1.0
        of_mean, of_variance, weight = (blob.data_tensor for blob in self.blobs[:STATISTICS])
        if self._affine:
            fraction = self._fraction if self._passes else 0.0
            new, self._passes = 1 - fraction, self._passes + 1
            weight.fill_(1)
        else:
            fraction, new = self._fraction, 1.0
            weight.mul_(fraction).add_(1)
        of_mean.copy_(scaled(of_mean, fraction).add_(mean, alpha=new))
        of_variance.copy_(scaled(of_variance, fraction).add_(variance, alpha=new * unbiased))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``(dy - mean(dy) - mean(dy y) y) / std``; with global statistics just ``dy / std``.

        ``dy`` times the scale, where there is one.
        """
        dy = top[0].diff_tensor
        if self._std is None:
            raise self.error("backward needs a forward pass first")
        y = self._normalized
        if self._keeps_normalized() and (y is None or y.shape != dy.shape):
            raise self.error(
                "backward needs a forward pass of the same shape first, and the scale's diff one that is no "
                "guided perturbation's (only_diffs)"
            )
        if self._affine:
            self._add_to_diffs(dy, y)
            if not propagate_down[0]:
                return
            dy = torch.mul(dy, self.blobs[3].data_tensor.view(self._view))
        if self._use_global or y is None:
            if bottom[0] is top[0] and not self._affine:
                dy.div_(self._std)
            else:
                bottom[0].diff_tensor = dy / self._std
            return
        dx = y * (dy * y).mean(self._axes).view(self._view)
        dx.add_(dy.mean(self._axes).view(self._view))
        bottom[0].diff_tensor = torch.sub(dy, dx, out=dx).div_(self._std)

    def _add_to_diffs(self, dy: torch.Tensor, y: torch.Tensor | None) -> None:
        if self.param_propagate_down[STATISTICS] and y is not None:
            self.blobs[3].diff_tensor.add_((dy * y).sum(self._axes))
        if self.param_propagate_down[STATISTICS + 1]:
            self.blobs[4].diff_tensor.add_(dy.sum(self._axes))


@register("MVN")
class MVNLayer(Layer):
    """Subtract the mean of every channel of every image, divide by its standard deviation plus ``eps``.

    ``across_channels``: one mean for all channels of an image. Without ``normalize_variance`` the mean
    is subtracted only. The top always has four axes (Caffe's legacy shape). In place the gradient is
    right, other than BVLC Caffe's, which overwrites the top diff while it still needs it.
    """

    copies = 1
    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.mvn_param
        self._variance, self._across, self._eps = param.normalize_variance, param.across_channels, param.eps
        self._std: torch.Tensor | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(num, channels, height, width)."""
        blob = bottom[0]
        self._shape = (blob.num, blob.channels, blob.height, blob.width)
        self._axes = [1, 2, 3] if self._across else [2, 3]
        top[0].reshape(self._shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data_tensor.reshape(self._shape)
        y = x - x.mean(self._axes, keepdim=True)
        if self._variance:
            self._std = y.square().mean(self._axes, keepdim=True).sqrt_().add_(self._eps)
            y.div_(self._std)
        top[0].data_tensor = y

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``(dy - mean(dy) - y mean(dy y)) / (std + eps)``, which ignores eps inside the derivative."""
        if not propagate_down[0]:
            return
        dy = top[0].diff_tensor
        dx = dy - dy.mean(self._axes, keepdim=True)
        if self._variance:
            if self._std is None:
                raise self.error("backward needs a forward pass first")
            y = top[0].data_tensor
            dx.sub_(y * (dy * y).mean(self._axes, keepdim=True)).div_(self._std)
        bottom[0].diff_tensor = dx.view(bottom[0].shape)
