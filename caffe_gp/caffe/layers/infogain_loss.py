"""InfogainLoss: cross-entropy weighted by a matrix over pairs of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from google.protobuf.message import DecodeError

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.loss_base import LOG_THRESHOLD, NormalizedLossLayer, loss_scale
from caffe_gp.caffe.layers.normalization import softmax
from caffe_gp.caffe.layers.registry import register
from caffe_gp.errors import DataError
from caffe_gp.files.regular import MAX_BLOB_BYTES, read_regular
from caffe_gp.proto import messages as pb


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
        blob.ParseFromString(read_regular(path, MAX_BLOB_BYTES))
    except OSError as error:
        raise DataError(f"{path}: cannot read this BlobProto file: {error.strerror or error}") from error
    except DecodeError as error:
        raise DataError(f"{path}: expected a binary BlobProto, but it cannot be parsed") from error
    values = np.array(blob.double_data or blob.data, dtype=np.float32)
    legacy = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else legacy
    if values.size == 0 or values.size != math.prod(shape):
        raise DataError(f"{path}: the blob holds {values.size} values, its shape is {shape}")
    return values.reshape(shape)
