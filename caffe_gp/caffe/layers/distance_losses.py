"""Losses of distances and margins: EuclideanLoss, HingeLoss and ContrastiveLoss."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.loss_base import LossLayer, check_one_label_per_item, loss_scale
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb


@register("EuclideanLoss")
class EuclideanLossLayer(LossLayer):
    """``sum (a - b)^2 / (2 num)``; both bottoms may get a gradient."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._difference: torch.Tensor | None = None

    def allow_force_backward(self, bottom_index: int) -> bool:
        """The bottoms are equals here."""
        return True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        if bottom[0].count_from(1) != bottom[1].count_from(1):
            raise self.error(f"expected inputs of one size, found {bottom[0].shape} and {bottom[1].shape}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._difference = bottom[0].data_tensor - bottom[1].data_tensor.reshape(bottom[0].shape)
        top[0].data_tensor = self._difference.square().sum() / (2 * bottom[0].num)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``+-(a - b) loss_weight / num``."""
        if self._difference is None:
            raise self.error("backward needs a forward pass first")
        for sign, blob, wanted in zip((1, -1), bottom, propagate_down, strict=True):
            if wanted:
                grad = self._difference * (sign * loss_scale(top[0]) / blob.num)
                blob.diff_tensor = grad.reshape(blob.shape)


@register("HingeLoss")
class HingeLossLayer(LossLayer):
    """``sum max(0, 1 - t x)^norm / num``, ``norm`` L1 or L2, with t = 1 at the label and -1 elsewhere."""

    def _margins(self, bottom: Sequence[Blob]) -> tuple[torch.Tensor, torch.Tensor]:
        """``max(0, 1 - t x)`` as (num, classes), and -t."""
        scores = bottom[0].data_tensor.reshape(bottom[0].num, -1)
        label = self.class_labels(bottom[1], scores.shape[1]).reshape(-1, 1)[: bottom[0].num]
        sign = torch.ones_like(scores).scatter_(1, label, -1.0)
        return (scores * sign).add_(1).clamp_(min=0), sign

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        margins, _ = self._margins(bottom)
        if self._squared:
            margins.square_()
        top[0].data_tensor = margins.sum() / bottom[0].num

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """-t inside the margin, for L2 times twice the margin."""
        self.refuse_label_diff(propagate_down)
        if propagate_down[0]:
            margins, sign = self._margins(bottom)
            grad = sign.mul_(margins * 2 if self._squared else margins.sign())
            grad.mul_(loss_scale(top[0]) / bottom[0].num)
            bottom[0].diff_tensor = grad.view(bottom[0].shape)

    @property
    def _squared(self) -> bool:
        return self.layer_param.hinge_loss_param.norm == pb.HingeLossParameter.L2


@register("ContrastiveLoss")
class ContrastiveLossLayer(LossLayer):
    """Pulls pairs (a, b) with y != 0 together, pushes those with y == 0 at least ``margin`` apart.

    ``(1 / 2 num) sum y d^2 + (1 - y) max(margin - d, 0)^2`` with the distance d; ``legacy_version``:
    ``max(margin - d^2, 0)`` for the second term.
    """

    exact_num_bottom = 3

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.contrastive_loss_param
        self._margin, self._legacy = param.margin, param.legacy_version
        self._difference: torch.Tensor | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """A scalar. The vectors may be (N, C), (N, C, 1) or (N, C, 1, 1), each as it likes."""
        super().reshape(bottom, top)
        first, second, similar = bottom
        spatial = (first.height, first.width, second.height, second.width)
        if first.channels != second.channels or spatial != (1, 1, 1, 1):
            raise self.error(f"takes two blobs of vectors (N, C), found {first.shape} and {second.shape}")
        check_one_label_per_item(self, similar)
        if similar.num < first.num:
            raise self.error(f"{first.num} pairs need as many labels, found shape {similar.shape}")

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Not for y."""
        return bottom_index != 2

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        num = bottom[0].num
        first, second = (blob.data_tensor.reshape(num, -1) for blob in bottom[:2])
        self._difference = first - second
        self._squared = self._difference.square().sum(1, keepdim=True)
        self._similar = bottom[2].data_tensor.to(torch.int64).reshape(-1, 1)[:num] != 0
        if self._legacy:
            apart = (self._margin - self._squared).clamp_(min=0)
        else:
            apart = (self._margin - self._squared.sqrt()).clamp_(min=0).square_()
        top[0].data_tensor = torch.where(self._similar, self._squared, apart).sum() / num / 2

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``+-(a - b)`` for similar pairs, ``-+(a - b) (margin - d) / (d + 1e-4)`` inside the margin."""
        if self._difference is None or len(self._difference) != bottom[0].num:
            raise self.error("backward needs a forward pass of the same batch first")
        if self._legacy:
            inside = self._margin - self._squared
            factor = -(inside > 0).to(inside.dtype)
        else:
            distance = self._squared.sqrt()
            inside = self._margin - distance
            factor = torch.where(inside > 0, -inside / (distance + 1e-4), torch.zeros_like(inside))
        grad = self._difference * torch.where(self._similar, torch.ones_like(factor), factor)
        for sign, blob, wanted in zip((1, -1), bottom, propagate_down, strict=False):
            if wanted:
                blob.diff_tensor = (grad * (sign * loss_scale(top[0]) / blob.num)).view(blob.shape)
