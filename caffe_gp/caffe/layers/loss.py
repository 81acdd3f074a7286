"""Loss layers. Each makes a scalar; its diff holds the loss weight, by which ``backward`` scales."""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from google.protobuf.message import DecodeError

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.normalization import softmax
from caffe_gp.caffe.layers.registry import register
from caffe_gp.errors import DataError
from caffe_gp.proto import messages as pb

FLT_MIN = float(torch.finfo(torch.float32).tiny)
LOG_THRESHOLD = 1e-20


class LossLayer(Layer):
    """Two bottoms (prediction, label) of one batch size, a scalar top of weight 1."""

    exact_num_bottom: int | None = 2
    exact_num_top: int | None = 1
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

    def _read_positions(self, bottom: Sequence[Blob], class_axis: int) -> None:
        """The class axis, and one label for each position around it."""
        self._axis = axis = bottom[0].canonical_axis(class_axis)
        self._outer, self._classes = bottom[0].count_from(0, axis), bottom[0].shape[axis]
        self._inner = bottom[0].count_from(axis + 1)
        if self._outer * self._inner != bottom[1].count:
            raise self.error(
                f"predictions of shape {bottom[0].shape} with the classes on axis {axis} need "
                f"{self._outer * self._inner} labels, found shape {bottom[1].shape}"
            )


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
        self._read_positions(bottom, self.layer_param.softmax_param.axis)
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


@register("InfogainLoss")
class InfogainLossLayer(NormalizedLossLayer):
    """``-sum_l H[label, l] log p_l`` with the softmax p along ``infogain_loss_param.axis``.

    H is (classes x classes): the third bottom, or a BlobProto file ``source``. The optional second top
    holds the probabilities. Probabilities below 1e-20 count as 1e-20.
    """

    exact_num_bottom = None
    min_bottom = 2
    max_bottom = 3
    exact_num_top = None
    min_top = 1
    max_top = 2

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read H unless it is a bottom."""
        if self.layer_param.loss_param.HasField("normalize"):
            raise self.error("loss_param.normalize is not supported here, use normalization")
        self.read_loss_param(pb.LossParameter.VALID)
        self._prob, self._infogain = Blob(), Blob()
        if len(bottom) < 3:
            param = self.layer_param.infogain_loss_param
            if not param.HasField("source"):
                raise self.error("needs a third bottom or infogain_loss_param.source")
            values = read_blob_file(param.source)
            self._infogain.reshape(*values.shape)
            self._infogain.data[...] = values

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Only the predictions get a gradient."""
        return bottom_index == 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """One label for each position, H of the right size."""
        super().reshape(bottom, top)
        self._read_positions(bottom, self.layer_param.infogain_loss_param.axis)
        matrix = self._matrix(bottom)
        if matrix.count != self._classes**2:
            raise self.error(
                f"{self._classes} classes need a square matrix of that size, found shape {matrix.shape}"
            )
        self._prob.reshape_like(bottom[0])
        if len(top) > 1:
            top[1].reshape_like(bottom[0])

    def _matrix(self, bottom: Sequence[Blob]) -> Blob:
        return bottom[2] if len(bottom) > 2 else self._infogain

    def _rows(self, bottom: Sequence[Blob]) -> tuple[torch.Tensor, int]:
        """H[label] as (outer, classes, inner), zero where the label is ignored, and the number of labels."""
        label = self.class_labels(bottom[1], self._classes, self._ignored).reshape(self._outer, self._inner)
        matrix = self._matrix(bottom).data_tensor.reshape(self._classes, self._classes)
        if self._ignored is None:
            return matrix[label].transpose(1, 2), label.numel()
        valid = label != self._ignored
        return (matrix[label * valid] * valid.unsqueeze(2)).transpose(1, 2), int(valid.sum())

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Weighted cross-entropy over the normaliser."""
        prob = softmax(bottom[0].data_tensor, self._axis)
        self._prob.data_tensor = prob
        rows, count = self._rows(bottom)
        logs = prob.reshape(self._outer, self._classes, self._inner).clamp(min=LOG_THRESHOLD).log_()
        top[0].data_tensor = (logs * rows).sum().neg_() / self.normalizer(self._outer, self._inner, count)
        if len(top) > 1:
            top[1].share_data(self._prob)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``p sum_l H[label, l] - H[label]``, times loss_weight / normaliser."""
        self.refuse_label_diff(propagate_down)
        if len(bottom) > 2 and propagate_down[2]:
            raise self.error("cannot propagate down to the infogain matrix")
        if not propagate_down[0]:
            return
        rows, count = self._rows(bottom)
        prob = self._prob.data_tensor.reshape(self._outer, self._classes, self._inner)
        grad = (prob * rows.sum(1, keepdim=True)).sub_(rows)
        grad.mul_(loss_scale(top[0]) / self.normalizer(self._outer, self._inner, count))
        bottom[0].diff_tensor = grad.reshape(bottom[0].shape)


def read_blob_file(path: str) -> np.ndarray:
    """float32 array of a binary BlobProto file (a mean file, an infogain matrix); DataError if it is none."""
    blob = pb.BlobProto()
    try:
        with open(path, "rb") as file:
            blob.ParseFromString(file.read())
    except OSError as error:
        raise DataError(f"{path}: cannot read this BlobProto file: {error.strerror}") from error
    except DecodeError as error:
        raise DataError(f"{path}: expected a binary BlobProto, but it cannot be parsed") from error
    values = np.array(blob.double_data or blob.data, dtype=np.float32)
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else legacy
    if values.size == 0 or values.size != math.prod(shape):
        raise DataError(f"{path}: the blob holds {values.size} values, its shape is {shape}")
    return values.reshape(shape)


@register("MultinomialLogisticLoss")
class MultinomialLogisticLossLayer(LossLayer):
    """Mean of ``-log p[label]``; the bottom holds probabilities (below 1e-20 they count as 1e-20)."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """One label for each item."""
        super().reshape(bottom, top)
        check_one_label_per_item(self, bottom[1])

    def _picked(self, bottom: Sequence[Blob]) -> tuple[torch.Tensor, torch.Tensor]:
        prob = bottom[0].data_tensor.reshape(bottom[0].num, -1)
        label = self.class_labels(bottom[1], prob.shape[1]).reshape(-1, 1)
        return label, prob.gather(1, label).clamp_(min=LOG_THRESHOLD)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Mean over the items."""
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


def check_one_label_per_item(layer: Layer, label: Blob) -> None:
    """NetError unless the label has one value for each item."""
    if (label.channels, label.height, label.width) != (1, 1, 1):
        raise layer.error(f"takes one label for each item, found label shape {label.shape}")


@register("EuclideanLoss")
class EuclideanLossLayer(LossLayer):
    """``sum (a - b)^2 / (2 num)``; both bottoms may get a gradient."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The difference is kept for backward."""
        self._difference: torch.Tensor | None = None

    def allow_force_backward(self, bottom_index: int) -> bool:
        """The bottoms are equals here."""
        return True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """As many values in both."""
        super().reshape(bottom, top)
        if bottom[0].count_from(1) != bottom[1].count_from(1):
            raise self.error(f"expected inputs of one size, found {bottom[0].shape} and {bottom[1].shape}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Half the squared distance for each item, averaged."""
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
        """Sum over classes, mean over items."""
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
        """Vectors, and one y for each pair."""
        first, second, similar = bottom
        spatial = (first.height, first.width, second.height, second.width)
        if first.channels != second.channels or spatial != (1, 1, 1, 1):
            raise self.error(f"takes two blobs of vectors (N, C), found {first.shape} and {second.shape}")
        check_one_label_per_item(self, similar)
        param = self.layer_param.contrastive_loss_param
        self._margin, self._legacy = param.margin, param.legacy_version
        self._difference: torch.Tensor | None = None

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Not for y."""
        return bottom_index != 2

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Mean over the pairs."""
        num = bottom[0].num
        self._difference = (bottom[0].data_tensor - bottom[1].data_tensor).reshape(num, -1)
        self._squared = self._difference.square().sum(1, keepdim=True)
        self._similar = bottom[2].data_tensor.to(torch.int64).reshape(-1, 1)[:num] != 0
        if self._legacy:
            apart = (self._margin - self._squared).clamp_(min=0)
        else:
            apart = (self._margin - self._squared.sqrt()).clamp_(min=0).square_()
        top[0].data_tensor = torch.where(self._similar, self._squared, apart).sum() / num / 2

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``+-(a - b)`` for similar pairs, ``-+(a - b) (margin - d) / (d + 1e-4)`` inside the margin."""
        if self._difference is None:
            raise self.error("backward needs a forward pass first")
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


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLossLayer(NormalizedLossLayer):
    """Cross-entropy of ``sigmoid(x)`` with targets in [0, 1], by default averaged over the batch size."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read how to normalise."""
        self.read_loss_param(pb.LossParameter.BATCH_SIZE)
        self._divisor = 1.0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """As many targets as predictions."""
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
