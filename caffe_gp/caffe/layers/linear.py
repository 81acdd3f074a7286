"""InnerProduct (fully connected) and Embed (its one-hot case)."""
from __future__ import annotations

from collections.abc import Sequence

import torch

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

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Create and fill the weights unless they were given."""
        param = self.layer_param.inner_product_param
        self._outputs = param.num_output
        self._transpose = param.transpose
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

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """One matrix product."""
        weight = self.blobs[0].data_tensor
        if self._transpose:
            weight = weight.t()
        bias = self.blobs[1].data_tensor if self._has_bias else None
        y = torch.nn.functional.linear(bottom[0].data_tensor.reshape(self._rows, self._inputs), weight, bias)
        top[0].data_tensor = y.view(top[0].shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``dW += dy^T x``, ``db += sum dy``, ``dx = dy W``."""
        dy = top[0].diff_tensor.reshape(self._rows, self._outputs)
        weight = self.blobs[0]
        if self.param_propagate_down[0]:
            x = bottom[0].data_tensor.reshape(self._rows, self._inputs)
            if self._transpose:
                weight.diff_tensor.addmm_(x.t(), dy)
            else:
                weight.diff_tensor.addmm_(dy.t(), x)
        if self._has_bias and self.param_propagate_down[1]:
            self.blobs[1].diff_tensor.add_(dy.sum(0))
        if propagate_down[0]:
            w = weight.data_tensor
            bottom[0].diff_tensor = torch.mm(dy, w.t() if self._transpose else w).view(bottom[0].shape)

    @property
    def _has_bias(self) -> bool:
        return self.layer_param.inner_product_param.bias_term
