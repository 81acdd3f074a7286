"""Loss layers. Each makes a scalar; its diff holds the loss weight, by which ``backward`` scales."""
from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.normalization import softmax
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb

FLT_MIN = float(torch.finfo(torch.float32).tiny)


class LossLayer(Layer):
    """Two bottoms (prediction, label) of one batch size, a scalar top of weight 1."""

    exact_num_bottom = 2
    exact_num_top = 1
    auto_top_blobs = True

    def default_loss_weight(self, top_index: int) -> float:
        """1 for the loss, 0 for further tops."""
        return 1.0 if top_index == 0 else 0.0

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Labels get no gradient."""
        return bottom_index != 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """A scalar."""
        if bottom[0].shape[:1] != bottom[1].shape[:1]:
            raise self.error(
                "prediction and label must agree in their first dimension, found shapes "
                f"{bottom[0].shape} and {bottom[1].shape}"
            )
        top[0].reshape()

    def refuse_label_diff(self, propagate_down: Sequence[bool]) -> None:
        """NetError if a gradient with respect to the label was asked for."""
        if propagate_down[1]:
            raise self.error("cannot propagate down to the label")

    def class_labels(self, label: Blob, classes: int, ignored: int | None = None) -> torch.Tensor:
        """Labels as int64; NetError for one outside [0, classes) that is not the ignored one."""
        values = label.data_tensor.to(torch.int64)
        wrong = (values < 0) | (values >= classes)
        if ignored is not None:
            wrong &= values != ignored
        if bool(wrong.any()):
            raise self.error(
                f"found label {int(values[wrong][0])}, expected 0 to {classes - 1}"
                + (f" or ignore_label {ignored}" if ignored is not None else "; is an ignore_label missing?")
            )
        return values


def loss_scale(blob: Blob) -> torch.Tensor:
    """The loss weight, which the net keeps in the diff of the loss; a 0-D tensor (no wait for a GPU)."""
    return blob.diff_tensor.reshape(-1)[0]


class NormalizedLossLayer(LossLayer):
    """A loss over N positions divided by a normaliser that ``loss_param`` chooses."""

    def read_loss_param(self, default: int) -> None:
        """``normalization``, or the old ``normalize`` (true: VALID, false: BATCH_SIZE), or the default."""
        param = self.layer_param.loss_param
        if param.HasField("normalization"):
            self._mode = param.normalization
        elif param.HasField("normalize"):
            self._mode = pb.LossParameter.VALID if param.normalize else pb.LossParameter.BATCH_SIZE
        else:
            self._mode = default
        self._ignored = param.ignore_label if param.HasField("ignore_label") else None

    def normalizer(self, outer: int, inner: int, valid: int) -> float:
        """Divisor of the loss, at least 1 so that a batch without labels gives 0 and not NaN."""
        if self._mode == pb.LossParameter.FULL:
            count = outer * inner
        elif self._mode == pb.LossParameter.VALID:
            count = valid
        elif self._mode == pb.LossParameter.BATCH_SIZE:
            count = outer
        else:
            count = 1
        return float(max(count, 1))


@register("SoftmaxWithLoss")
class SoftmaxWithLossLayer(NormalizedLossLayer):
    """Cross-entropy of the softmax along ``softmax_param.axis`` with integer labels.

    The optional second top holds the probabilities. Probabilities below FLT_MIN count as FLT_MIN.
    """

    exact_num_top = None
    min_top = 1
    max_top = 2

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read how to normalise."""
        self.read_loss_param(pb.LossParameter.VALID)
        self._prob = Blob()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """One label for each position."""
        super().reshape(bottom, top)
        self._axis = axis = bottom[0].canonical_axis(self.layer_param.softmax_param.axis)
        self._outer, self._classes = bottom[0].count_from(0, axis), bottom[0].shape[axis]
        self._inner = bottom[0].count_from(axis + 1)
        if self._outer * self._inner != bottom[1].count:
            raise self.error(
                f"predictions of shape {bottom[0].shape} with the classes on axis {axis} need "
                f"{self._outer * self._inner} labels, found shape {bottom[1].shape}"
            )
        self._prob.reshape_like(bottom[0])
        if len(top) > 1:
            top[1].reshape_like(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """``-sum log p[label] / normaliser``."""
        prob = softmax(bottom[0].data_tensor, self._axis)
        self._prob.data_tensor = prob
        label, valid, count = self._labels(bottom[1])
        picked = prob.reshape(self._outer, self._classes, self._inner).gather(1, label)
        losses = picked.clamp_(min=FLT_MIN).log_().neg_()
        if valid is not None:
            losses.mul_(valid)
        top[0].data_tensor = losses.sum() / self.normalizer(self._outer, self._inner, count)
        if len(top) > 1:
            top[1].share_data(self._prob)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``(p - onehot) * loss_weight / normaliser``, zero where the label is ignored."""
        self.refuse_label_diff(propagate_down)
        if not propagate_down[0]:
            return
        label, valid, count = self._labels(bottom[1])
        grad = self._prob.data_tensor.reshape(self._outer, self._classes, self._inner).clone()
        grad.scatter_add_(1, label, grad.new_full((1, 1, 1), -1.0).expand_as(label))
        scale = loss_scale(top[0]) / self.normalizer(self._outer, self._inner, count)
        grad.mul_(scale if valid is None else scale * valid)
        bottom[0].diff_tensor = grad.view(bottom[0].shape)

    def _labels(self, blob: Blob) -> tuple[torch.Tensor, torch.Tensor | None, int]:
        """Labels (outer, 1, inner), the mask of those that count (None: all) and their number."""
        label = self.class_labels(blob, self._classes, self._ignored).reshape(self._outer, 1, self._inner)
        if self._ignored is None:
            return label, None, label.numel()
        valid = label != self._ignored
        return label * valid, valid, int(valid.sum())
