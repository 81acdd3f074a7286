"""Accuracy and DeepLab's SegAccuracy: measures without a gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("Accuracy")
class AccuracyLayer(Layer):
    """Share of positions whose true class is among the ``top_k`` best; second top: the same for each class.

    Classes that score exactly as high as the true one count as better, so a constant prediction is wrong.
    """

    exact_num_bottom = 2
    min_top = 1
    max_top = 2

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.accuracy_param
        self._top_k = param.top_k
        self._ignored = param.ignore_label if param.HasField("ignore_label") else None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """A scalar, and (classes,) for the second top."""
        axis = bottom[0].canonical_axis(self.layer_param.accuracy_param.axis)
        self._outer, self._inner = bottom[0].count_from(0, axis), bottom[0].count_from(axis + 1)
        self._classes = bottom[0].shape[axis]
        if self._top_k > bottom[0].count // max(bottom[1].count, 1):
            raise self.error(
                f"top_k must be at most the number of classes, found {self._top_k} for predictions of shape "
                f"{bottom[0].shape} and labels of shape {bottom[1].shape}"
            )
        if self._outer * self._inner != bottom[1].count:
            raise self.error(
                f"predictions of shape {bottom[0].shape} with the classes on axis {axis} need "
                f"{self._outer * self._inner} labels, found shape {bottom[1].shape}"
            )
        top[0].reshape()
        if len(top) > 1:
            top[1].reshape(self._classes)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores = bottom[0].data_tensor.reshape(self._outer, self._classes, self._inner)
        label = bottom[1].data_tensor.to(torch.int64).reshape(self._outer, 1, self._inner)
        valid = torch.ones_like(label, dtype=torch.bool) if self._ignored is None else label != self._ignored
        wrong = ((label < 0) | (label >= self._classes)) & valid
        if bool(wrong.any()):
            raise self.error(f"found label {int(label[wrong][0])}, expected 0 to {self._classes - 1}")
        label = label * valid
        better = (scores >= scores.gather(1, label)).sum(1, keepdim=True) - 1  # less the true class itself
        right = (better < self._top_k) & valid
        top[0].data_tensor = right.sum() / valid.sum().clamp(min=1).to(torch.float32)
        if len(top) > 1:
            seen = torch.bincount(label[valid], minlength=self._classes)
            hits = torch.bincount(label[right], minlength=self._classes)
            top[1].data_tensor = hits / seen.clamp(min=1).to(torch.float32)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            raise self.error("has no gradient; do not use it as a loss")

    def allow_force_backward(self, bottom_index: int) -> bool:
        return False


@register("SegAccuracy")
class SegAccuracyLayer(Layer):
    """DeepLab's measure of label maps: (1, 1, 1, 3) of pixel accuracy, mean recall, mean Jaccard index.

    Bottoms: scores (N, C, H, W) and labels (N, 1, H, W). ``ignore_label`` may be given several times;
    other labels outside [0, C) are an error. Unless ``reset`` is false the confusion matrix starts anew
    at every forward pass. Classes without a pixel are left out of the recall, and count as 1 in the
    Jaccard index if they are not predicted either.
    """

    exact_num_bottom = 2
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        classes = bottom[0].channels
        self._ignored = sorted(set(self.layer_param.seg_accuracy_param.ignore_label))
        self._matrix = torch.zeros(classes, classes, dtype=torch.int64)  # true class, predicted class

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        score, label = bottom
        expected = (score.num, 1, score.height, score.width)
        if (label.num, label.channels, label.height, label.width) != expected:
            raise self.error(f"scores of shape {score.shape} need labels {expected}, found {label.shape}")
        top[0].reshape(1, 1, 1, 3)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        classes = self._matrix.shape[0]
        scores = bottom[0].data_tensor.reshape(bottom[0].num, classes, -1)
        predicted = classes - 1 - scores.flip(1).argmax(1)  # of ties the larger class
        label = bottom[1].data_tensor.to(torch.int64).reshape(predicted.shape)
        valid = torch.ones_like(label, dtype=torch.bool)
        for ignored in self._ignored:
            valid &= label != ignored
        wrong = valid & ((label < 0) | (label >= classes))
        if bool(wrong.any()):
            raise self.error(
                f"found label {int(label[wrong][0])}, expected 0 to {classes - 1} or an ignore_label"
            )
        if self.layer_param.seg_accuracy_param.reset:
            self._matrix.zero_()
        pairs = label[valid] * classes + predicted[valid]
        self._matrix += torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()
        matrix = self._matrix.to(torch.float64)
        right, true, guessed = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        union = true + guessed - right
        seen = true > 0
        accuracy = right.sum() / matrix.sum().clamp(min=1)
        recall = (right[seen] / true[seen]).sum() / seen.sum().clamp(min=1)
        jaccard = torch.where(union == right, torch.ones_like(union), right / union.clamp(min=1)).mean()
        result = torch.stack([accuracy, recall, jaccard]).to(scores.device, torch.float32)
        top[0].data_tensor = result.view(1, 1, 1, 3)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            raise self.error("has no gradient; do not use it as a loss")

    def allow_force_backward(self, bottom_index: int) -> bool:
        return False
