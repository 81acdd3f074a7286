"""InnerProduct (fully connected) and Embed (its one-hot case)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe import precision
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("InnerProduct")
class InnerProductLayer(Layer):
    """``y = x W^T + b`` over the axes from ``axis`` on, flattened to K values.

    ``blobs[0]``: (num_output, K), or (K, num_output) with ``transpose``; ``blobs[1]``: (num_output,).
    """

    exact_num_bottom = 1
    exact_num_top = 1
    reshapes_by_shape = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.inner_product_param
        self._outputs = param.num_output
        if self._outputs < 1:
            raise self.error("needs inner_product_param.num_output >= 1")
        self._transpose, self._has_bias = param.transpose, param.bias_term
        self._inputs = bottom[0].count_from(bottom[0].canonical_axis(param.axis))
        if not self.blobs:
            shape = (self._outputs, self._inputs)
            fill(self.blobs.add_blob(*(shape[::-1] if self._transpose else shape)), param.weight_filler)
            if param.bias_term:
                fill(self.blobs.add_blob(self._outputs), param.bias_filler)
        self.param_propagate_down = [True] * len(self.blobs)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(d0, .., d[axis - 1], num_output); the flattened size must stay what the weights were made for."""
        axis = bottom[0].canonical_axis(self.layer_param.inner_product_param.axis)
        inputs = bottom[0].count_from(axis)
        if inputs != self._inputs:
            raise self.error(
                f"the weights take {self._inputs} values, but the bottom of shape {bottom[0].shape} "
                f"has {inputs} from axis {axis} on; an InnerProduct cannot follow a change of image size"
            )
        self._rows = bottom[0].count_from(0, axis)
        top[0].reshape(bottom[0].shape[:axis] + (self._outputs,))

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Where factors are rounded: weights in both precisions, half as large in one, and what they meet."""
        if not precision.is_bf16():
            return super().workspace(bottom, top)
        weights = self.blobs[0].count
        return weights + weights // 2 + bottom[0].count + top[0].count

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, weight, bias = precision.taken(
            bottom[0].data_tensor.reshape(self._rows, self._inputs),
            self.blobs[0].data_tensor,
            self.blobs[1].data_tensor if self._has_bias else None,
        )
        y = torch.nn.functional.linear(x, weight.t() if self._transpose else weight, bias)
        top[0].data_tensor = precision.given(y).view(top[0].shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``dW += dy^T x``, ``db += sum dy``, ``dx = dy W``."""
        (dy,) = precision.taken(top[0].diff_tensor.reshape(self._rows, self._outputs))
        weight = self.blobs[0]
        if self.param_propagate_down[0]:
            (x,) = precision.taken(bottom[0].data_tensor.reshape(self._rows, self._inputs))
            left, right = (x, dy) if self._transpose else (dy, x)
            if precision.is_bf16():
                weight.diff_tensor.add_(precision.given(left.t() @ right))
            else:
                weight.diff_tensor.addmm_(left.t(), right)
        if self._has_bias and self.param_propagate_down[1]:
            self.blobs[1].diff_tensor.add_(precision.given(dy.sum(0)))
        if propagate_down[0]:
            (w,) = precision.taken(weight.data_tensor)
            dx = precision.given(torch.mm(dy, w.t() if self._transpose else w))
            bottom[0].diff_tensor = dx.view(bottom[0].shape)


@register("Embed")
class EmbedLayer(Layer):
    """Row ``x`` of a table for every integer ``x`` of the bottom, plus a bias.

    ``blobs[0]``: (input_dim, num_output); ``blobs[1]``: (num_output,).
    """

    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.embed_param
        if param.num_output < 1 or param.input_dim < 1:
            raise self.error(
                f"needs num_output and input_dim >= 1, found {param.num_output} and {param.input_dim}"
            )
        if not self.blobs:
            fill(self.blobs.add_blob(param.input_dim, param.num_output), param.weight_filler)
            if param.bias_term:
                fill(self.blobs.add_blob(param.num_output), param.bias_filler)
        self.param_propagate_down = [True] * len(self.blobs)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The bottom's shape with num_output behind it."""
        top[0].reshape(bottom[0].shape + (self.layer_param.embed_param.num_output,))

    def _index(self, bottom: Blob) -> torch.Tensor:
        index, rows = bottom.data_tensor.to(torch.int64).flatten(), self.layer_param.embed_param.input_dim
        wrong = (index < 0) | (index >= rows)
        if bool(wrong.any()):
            raise self.error(f"found index {int(index[wrong][0])}, expected 0 to {rows - 1}")
        return index

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        y = self.blobs[0].data_tensor.index_select(0, self._index(bottom[0]))
        if self.layer_param.embed_param.bias_term:
            y.add_(self.blobs[1].data_tensor)
        top[0].data_tensor = y.view(top[0].shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            raise self.error("cannot propagate down to the indices")
        dy = top[0].diff_tensor.reshape(-1, self.layer_param.embed_param.num_output)
        if self.param_propagate_down[0]:
            self.blobs[0].diff_tensor.index_add_(0, self._index(bottom[0]), dy)
        if self.layer_param.embed_param.bias_term and self.param_propagate_down[1]:
            self.blobs[1].diff_tensor.add_(dy.sum(0))

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Indices get no gradient."""
        return False
