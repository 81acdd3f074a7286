"""LRN: local response normalisation across or within channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer, scaled
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb


@register("LRN")
class LRNLayer(Layer):
    """ACROSS_CHANNELS: ``x (k + alpha/n sum x^2)^-beta`` over n channels. WITHIN_CHANNEL: ``x (1 + alpha
    mean x^2)^-beta`` over an n x n window whose mean counts the padding; ``k`` is ignored there, as in Caffe.
    """

    copies = 5
    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.warn_if_in_place(bottom, top)
        param = self.layer_param.lrn_param
        self._n, self._alpha, self._beta, self._k = param.local_size, param.alpha, param.beta, param.k
        self._across = param.norm_region == pb.LRNParameter.ACROSS_CHANNELS
        if self._n % 2 == 0:
            raise self.error(f"LRN only supports odd values for local_size, found {self._n}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom[0].shape) != 4:
            raise self.error(
                f"Input must have 4 axes, corresponding to (num, channels, height, width): {bottom[0].shape}"
            )
        top[0].reshape_like(bottom[0])

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The scale."""
        return bottom[0].count

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data_tensor
        self._scale = scaled(self._mean(x * x), self._alpha).add_(self._k_term())
        top[0].data_tensor = x * self._scale.pow(-self._beta)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``dy s^-beta - 2 alpha beta x mean(dy y / s)``, y = x s^-beta: the window mean is its own adjoint.

        ACROSS_CHANNELS takes y from the top, as Caffe does, with whatever in-place layers made of it.
        """
        if propagate_down[0]:
            x, dy = bottom[0].data_tensor, top[0].diff_tensor
            power = self._scale.pow(-self._beta)
            y = top[0].data_tensor if self._across else x * power
            spread = self._mean(dy * y / self._scale)
            bottom[0].diff_tensor = dy * power - scaled(x * spread, 2 * self._alpha * self._beta)

    def _k_term(self) -> float:
        return self._k if self._across else 1.0

    def _mean(self, values: torch.Tensor) -> torch.Tensor:
        half = (self._n - 1) // 2
        if not self._across:
            return F.avg_pool2d(values, self._n, 1, half, count_include_pad=True)
        channels = values.shape[1]
        half = min(half, channels)  # beyond are zeros only
        padded = F.pad(values, (0, 0, 0, 0, half, half))
        total = padded[:, :channels].clone()
        for i in range(1, 2 * half + 1):
            total += padded[:, i : i + channels]
        return total.div_(self._n)
