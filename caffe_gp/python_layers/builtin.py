"""Layers of Caffe's forks as ``type: "Python"`` layers, for stock BVLC Caffe.

    layer {
      name: "fc8_interp" type: "Python" bottom: "fc8" top: "fc8_interp"
      python_param { module: "caffe_gp.python_layers.builtin" layer: "InterpLayer"
                     param_str: '{"zoom_factor": 8}' }
    }

``param_str`` is JSON: the set fields of the fork's own parameter message. Names and parameter blobs are those
of the fork's layers, so the same weights load. They compute with numpy what the embedded Caffe computes.
``gives_diffs_to`` says how many of a layer's bottoms get a diff, where that is not the first alone.
"""

from __future__ import annotations

import json
from typing import Any, Sequence

from caffe_gp.crf import MeanFieldParameters
from caffe_gp.images.interpolation import Interp, resampling_matrix
from caffe_gp.python_layers.base import Layer
from caffe_gp.python_layers.segmentation import (
    AxpyLayer,
    BNLayer,
    CropCenterLayer,
    MishLayer,
    ReLU6Layer,
    ShuffleChannelLayer,
    UnpoolingLayer,
    UpsampleLayer,
)

__all__ = [
    "AxpyLayer", "BNLayer", "CropCenterLayer", "InterpLayer", "MishLayer", "MultiStageMeanfieldLayer",
    "ReLU6Layer", "ShuffleChannelLayer", "UnpoolingLayer", "UpsampleLayer",
]  # fmt: skip


class InterpLayer(Layer):
    """DeepLab's Interp: one bilinear resample with aligned corners. (N, C, H, W) -> (N, C, H', W')."""

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Read the parameters. ValueError for values that make no sense."""
        self._rule = Interp(**json.loads(self.param_str))
        self._sizes: tuple = ()

    def reshape(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """The size that the rule gives."""
        n, c, *size = bottom[0].data.shape
        out = self._rule.output_size(size)
        if self._sizes != (size, out):
            self._sizes = (size, out)
            self._crop = self._rule.crop(size)
            lengths = [part.stop - part.start for part in self._crop]
            self._rows, self._columns = (resampling_matrix(a, b) for a, b in zip(lengths, out))
        top[0].reshape(n, c, *out)

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Rows, then columns."""
        rows, columns = self._crop
        top[0].data[...] = self._rows @ (bottom[0].data[:, :, rows, columns] @ self._columns.T)

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        """The adjoint."""
        if propagate_down[0]:
            rows, columns = self._crop
            bottom[0].diff[...] = 0
            bottom[0].diff[:, :, rows, columns] = self._rows.T @ (top[0].diff @ self._columns)


class MultiStageMeanfieldLayer(Layer):
    """CRF-RNN's mean-field iterations: ``caffe_gp.crf.MeanField``.

    Bottoms: unary scores and first scores (N, L, H, W), the image (N, C, H, W), which gets no diff. Top:
    scores (N, L, H, W). ``blobs``: spatial weights, bilateral weights, compatibilities, (1, 1, L, L) each;
    their diffs are overwritten, not added to. The key ``learn`` (default true): whether to compute these.
    """

    gives_diffs_to = 2

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Read the parameters, create and fill the matrices. ValueError for values that make no sense."""
        if len(bottom) != 3:
            raise ValueError(f"takes 3 bottoms (unary scores, first scores, image), found {len(bottom)}")
        fields = json.loads(self.param_str)
        self._learn = fields.pop("learn", True)
        parameters = MeanFieldParameters.of_fields(fields)
        self._mean_field = parameters.mean_field()
        classes = bottom[0].data.shape[1]
        for i, matrix in enumerate(parameters.initial_matrices(classes)):
            self.blobs.add_blob(1, 1, classes, classes)
            self.blobs[i].data[...] = matrix

    def reshape(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """The unary scores' shape. ValueError if the bottoms do not fit together."""
        unary, initial, image = (bottom[i].data.shape for i in range(3))  # pycaffe's list cannot be iterated
        if unary != initial or (image[0], *image[2:]) != (unary[0], *unary[2:]):
            raise ValueError(f"scores {unary} and {initial} and the image {image} do not fit together")
        top[0].reshape(*unary)

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """The scores after the last iteration."""
        matrices = [self.blobs[i].data[0, 0] for i in range(3)]
        inputs = [bottom[i].data for i in range(3)]
        top[0].data[...] = self._mean_field.forward(*inputs, *matrices, learn=self._learn)

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        """Diffs of both scores and of the matrices."""
        unary, initial, *matrices = self._mean_field.backward(top[0].diff)
        for i, diff in enumerate((unary, initial)):
            if propagate_down[i]:
                bottom[i].diff[...] = diff
        if self._learn:
            for i, diff in enumerate(matrices):
                self.blobs[i].diff[...] = diff
