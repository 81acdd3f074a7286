"""Cross-entropy losses: SoftmaxWithLoss, MultinomialLogisticLoss and SigmoidCrossEntropyLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.loss_base import (
    LOG_THRESHOLD,
    LossLayer,
    NormalizedLossLayer,
    check_one_label_per_item,
    loss_scale,
)
from caffe_gp.caffe.layers.normalization import softmax
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb

FLT_MIN = float(torch.finfo(torch.float32).tiny)


@register("SoftmaxWithLoss")
class SoftmaxWithLossLayer(NormalizedLossLayer):
    """Cross-entropy of the softmax along ``softmax_param.axis`` with integer labels.

    The optional second top holds the probabilities. Probabilities below FLT_MIN count as FLT_MIN.
    SegNet's ``loss_param { weight_by_label_freqs: true class_weighting: w ... }``: each position counts w, of
    its label, times. The normaliser is the number of positions all the same.
    """

    exact_num_top = None
    min_top = 1
    max_top = 2

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.read_loss_param(pb.LossParameter.VALID)
        self._prob = Blob()
        param = self.layer_param.loss_param
        self._class_weights = list(param.class_weighting) if param.weight_by_label_freqs else None
        for weight in self._class_weights or ():
            if not math.isfinite(weight):
                raise self.error(f"class_weighting must be finite numbers, found {weight:g}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        self._read_positions(bottom, self.layer_param.softmax_param.axis)
        if self._class_weights is not None and len(self._class_weights) != self._classes:
            raise self.error(
                "weight_by_label_freqs needs class_weighting once for each class: found "
                f"{len(self._class_weights)} weight(s) for {self._classes} classes"
            )
        self._prob.reshape_like(bottom[0])
        if len(top) > 1:
            top[1].reshape_like(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """``-sum log p[label] / normaliser``."""
        prob = softmax(bottom[0].data_tensor, self._axis)
        self._prob.data_tensor = prob
        label, weight, count = self._labels(bottom[1])
        picked = prob.reshape(self._outer, self._classes, self._inner).gather(1, label)
        losses = picked.clamp_(min=FLT_MIN).log_().neg_()
        if weight is not None:
            losses.mul_(weight)
        top[0].data_tensor = losses.sum() / self.normalizer(self._outer, self._inner, count)
        if len(top) > 1:
            top[1].share_data(self._prob)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``(p - onehot) * weight * loss_weight / normaliser``, zero where the label is ignored."""
        self.refuse_label_diff(propagate_down)
        if not propagate_down[0]:
            return
        label, weight, count = self._labels(bottom[1])
        grad = self._prob.data_tensor.reshape(self._outer, self._classes, self._inner).clone()
        grad.scatter_add_(1, label, grad.new_full((1, 1, 1), -1.0).expand_as(label))
        scale = loss_scale(top[0]) / self.normalizer(self._outer, self._inner, count)
        grad.mul_(scale if weight is None else scale * weight)
        bottom[0].diff_tensor = grad.view(bottom[0].shape)

    def _labels(self, blob: Blob) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """Labels (outer, 1, inner), how much each counts (None: 1), and the number of those not ignored."""
        label = self.class_labels(blob, self._classes, self._ignored).reshape(self._outer, 1, self._inner)
        valid = None if self._ignored is None else label != self._ignored
        count = label.numel() if valid is None else int(valid.sum())
        if valid is not None:
            label = label * valid
        if self._class_weights is None:
            return label, valid, count
        weight = torch.tensor(self._class_weights, device=label.device)[label]
        return label, weight if valid is None else weight * valid, count


@register("MultinomialLogisticLoss")
class MultinomialLogisticLossLayer(LossLayer):
    """Mean of ``-log p[label]``; the bottom holds probabilities (below 1e-20 they count as 1e-20)."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        check_one_label_per_item(self, bottom[1])

    def _picked(self, bottom: Sequence[Blob]) -> tuple[torch.Tensor, torch.Tensor]:
        prob = bottom[0].data_tensor.reshape(bottom[0].num, -1)
        label = self.class_labels(bottom[1], prob.shape[1]).reshape(-1, 1)
        return label, prob.gather(1, label).clamp_(min=LOG_THRESHOLD)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        label, picked = self._picked(bottom)
        top[0].data_tensor = picked.log_().sum().neg_() / label.numel()

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``-loss_weight / (num p[label])`` at the label, else 0."""
        self.refuse_label_diff(propagate_down)
        if propagate_down[0]:
            label, picked = self._picked(bottom)
            grad = picked.new_zeros(label.numel(), bottom[0].count // label.numel())
            grad.scatter_(1, label, -loss_scale(top[0]) / label.numel() / picked)
            bottom[0].diff_tensor = grad.view(bottom[0].shape)


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLossLayer(NormalizedLossLayer):
    """Cross-entropy of ``sigmoid(x)`` with targets in [0, 1], by default averaged over the batch size."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.read_loss_param(pb.LossParameter.BATCH_SIZE)
        self._divisor = 1.0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        if bottom[0].count != bottom[1].count:
            raise self.error(f"expected inputs of one count, found {bottom[0].shape} and {bottom[1].shape}")

    def _valid(self, target: torch.Tensor) -> torch.Tensor | None:
        return None if self._ignored is None else target.to(torch.int64) != self._ignored

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """``max(x, 0) - x t + log(1 + exp(-|x|))`` summed over the normaliser."""
        x = bottom[0].data_tensor
        target = bottom[1].data_tensor.reshape(x.shape)
        losses = (x.clamp(min=0) - x * target).add_(torch.log1p(torch.exp(-x.abs())))
        valid = self._valid(target)
        count = x.numel()
        if valid is not None:
            losses.masked_fill_(~valid, 0)
            count = int(valid.sum())
        outer = bottom[0].shape[0]
        self._divisor = self.normalizer(outer, x.numel() // max(outer, 1), count)
        top[0].data_tensor = losses.sum() / self._divisor

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``(sigmoid(x) - t) loss_weight / normaliser``, zero where the target is ignored."""
        self.refuse_label_diff(propagate_down)
        if not propagate_down[0]:
            return
        x = bottom[0].data_tensor
        target = bottom[1].data_tensor.reshape(x.shape)
        grad = torch.sigmoid(x).sub_(target)
        valid = self._valid(target)
        if valid is not None:
            grad.masked_fill_(~valid, 0)
        bottom[0].diff_tensor = grad.mul_(loss_scale(top[0]) / self._divisor)
