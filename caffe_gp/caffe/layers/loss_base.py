"""What the loss layers share.

Each makes a scalar; its diff holds the loss weight, by which ``backward`` scales.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.proto import messages as pb

LOG_THRESHOLD = 1e-20  # MultinomialLogisticLoss and InfogainLoss take no logarithm of less


class LossLayer(Layer):
    """Two bottoms (prediction, label) of one batch size, a scalar top of weight 1."""

    exact_num_bottom: int | None = 2
    exact_num_top: int | None = 1
    auto_top_blobs = True

    def default_loss_weight(self, top_index: int) -> float:
        return 1.0 if top_index == 0 else 0.0

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Labels get no gradient."""
        return bottom_index != 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
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
        if self._mode == pb.LossParameter.PRE_FIXED:
            raise self.error(
                "loss_param.normalization PRE_FIXED is Intel Caffe's, which is not available here"
            )
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


def loss_scale(blob: Blob) -> torch.Tensor:
    """The loss weight, which the net keeps in the diff of the loss; a 0-D tensor (no wait for a GPU)."""
    return blob.diff_tensor.reshape(-1)[0]


def check_one_label_per_item(layer: Layer, label: Blob) -> None:
    """NetError unless the label has one value for each item."""
    if (label.channels, label.height, label.width) != (1, 1, 1):
        raise layer.error(f"takes one label for each item, found label shape {label.shape}")
