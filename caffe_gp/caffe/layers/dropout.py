"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import TRAIN
from caffe_gp.caffe.layers.neuron_base import NeuronLayer
from caffe_gp.caffe.layers.registry import register


@register("Dropout")
class DropoutLayer(NeuronLayer):
    """TRAIN: zero elements with probability ``dropout_ratio``, divide the rest by 1 - ratio. TEST: copy.

    SegNet's ``sample_weights_test`` does at TEST what TRAIN does (Bayesian SegNet).
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.dropout_param
        self._ratio = param.dropout_ratio
        self._drops = self.phase == TRAIN or param.sample_weights_test
        self.idempotent_in_place = not self._drops
        if self._drops and not 0 <= self._ratio < 1:
            raise self.error(f"dropout_ratio must be in [0, 1), found {self._ratio:g}")
        self._mask: torch.Tensor | None = None

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Draw a new mask where it drops; otherwise there is nothing to do in place."""
        x = bottom[0].data_tensor
        if self._drops:
            self._mask = torch.empty_like(x).bernoulli_(1 - self._ratio).mul_(1 / (1 - self._ratio))
            if bottom[0] is top[0]:
                x.mul_(self._mask)
            else:
                top[0].data_tensor = x * self._mask
        elif bottom[0] is not top[0]:
            top[0].data_tensor = x.clone()

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy = top[0].diff_tensor
        if self._drops:
            if self._mask is None or self._mask.shape != dy.shape:
                raise self.error("backward needs a forward pass of the same shape first")
            if bottom[0] is top[0]:
                dy.mul_(self._mask)
            else:
                bottom[0].diff_tensor = dy * self._mask
        elif bottom[0] is not top[0]:
            bottom[0].diff_tensor = dy.clone()
