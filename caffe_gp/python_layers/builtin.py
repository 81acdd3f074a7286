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

import numpy as np

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


class PermuteLayer(Layer):
    """SSD's Permute: axis i of the top is axis ``order[i]`` of the bottom, then come the others."""

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Read the order. ValueError for one that does not suit the bottom's axes."""
        order, axes = json.loads(self.param_str).get("order", []), bottom[0].data.ndim
        if len(set(order)) != len(order) or not all(axis < axes for axis in order):
            raise ValueError(f"order {order} does not suit {axes} axes")
        self._order = [*order, *(axis for axis in range(axes) if axis not in order)]

    def reshape(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """The bottom's dimensions in the new order."""
        shape = bottom[0].data.shape
        top[0].reshape(*[shape[axis] for axis in self._order])

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """The values in the new order."""
        top[0].data[...] = bottom[0].data.transpose(self._order)

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        """And back."""
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff.transpose(np.argsort(self._order))


class NormalizeLayer(Layer):
    """SSD's Normalize, with its gradient: see the embedded Caffe's layer. ``blobs[0]``: the scale."""

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Create the scale. ValueError for a filler that makes random numbers."""
        fields = json.loads(self.param_str)
        self._across, self._eps = fields.get("across_spatial", True), fields.get("eps", 1e-10)
        filler = fields.get("scale_filler", {"value": 1.0})
        if filler.get("type", "constant") != "constant":
            raise ValueError(f"scale_filler must be of type 'constant' here, found {filler['type']!r}")
        channels = bottom[0].data.shape[1:2]
        self.blobs.add_blob(*() if fields.get("channel_shared", True) else channels)
        self.blobs[0].data[...] = filler.get("value", 0.0)

    def reshape(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """The bottom's shape."""
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """The scale times x by its norm."""
        self._x = bottom[0].data.copy()  # what works in place behind this layer may overwrite it
        self._axes = tuple(range(1, self._x.ndim)) if self._across else (1,)
        self._norm = np.sqrt((self._x**2).sum(self._axes, keepdims=True) + np.float32(self._eps))
        top[0].data[...] = self._x / self._norm * self._scale()

    def _scale(self) -> np.ndarray:
        return self.blobs[0].data.reshape((1, -1) + (1,) * (self._x.ndim - 2))

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        """The diff of the scale is added to."""
        dy, scale = top[0].diff.copy(), self.blobs[0]
        others = tuple(axis for axis in range(dy.ndim) if axis != 1 or scale.data.ndim == 0)
        scale.diff[...] += (top[0].data * dy).sum(others).reshape(scale.data.shape) / scale.data
        if propagate_down[0]:
            along = (self._x * dy).sum(self._axes, keepdims=True) / self._norm**2
            bottom[0].diff[...] = self._scale() * (dy - self._x * along) / self._norm


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
