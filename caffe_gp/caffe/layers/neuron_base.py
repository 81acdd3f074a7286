"""What the layers share that map each element by itself: the activations, arithmetic, Dropout.

All of them may run in place (top is bottom). Then ``backward`` sees the *output* values where Caffe's
formula reads the bottom data; that is Caffe's behaviour too and right wherever Caffe's users rely on it
(ReLU: the sign of the output tells the sign of the input).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer


class NeuronLayer(Layer):
    """One bottom, one top of the same shape."""

    exact_num_bottom = 1
    exact_num_top = 1
    reshapes_by_shape = True
    keeps_places = True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape_like(bottom[0])


class ElementwiseLayer(NeuronLayer):
    """A smooth or piecewise function given by two methods on tensors.

    ``backward`` hands ``derivative`` the bottom and top data as they are *now*. In place both are the
    output. Where Caffe's formula reads the bottom data the result then differs from the true gradient,
    in Caffe and here alike; ``in_place_gradient_is_wrong`` marks those layers, and ``setup`` says so.
    """

    in_place_gradient_is_wrong = False

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the parameters; warn of in-place use that Caffe computes wrongly."""
        self.read_parameters()
        if self.in_place_gradient_is_wrong:
            self.warn_if_in_place(bottom, top)

    def read_parameters(self) -> None:
        """Take what the functions need from ``layer_param``."""

    def function(self, x: torch.Tensor) -> torch.Tensor:
        """The top data, a new tensor."""
        raise NotImplementedError

    def derivative(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Caffe's expression for dy/dx from bottom data ``x`` and top data ``y``, a new tensor."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data_tensor = self.function(bottom[0].data_tensor)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            slope = self.derivative(bottom[0].data_tensor, top[0].data_tensor)
            bottom[0].diff_tensor = slope.mul_(top[0].diff_tensor)


class OverwritingLayer(ElementwiseLayer):
    """Caffe writes the derivative into the bottom diff and multiplies it by the top diff afterwards.

    In place these are one array, so the top diff is lost and the derivative comes out squared.
    """

    in_place_gradient_is_wrong = True

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Top diff times derivative; in place the derivative squared, as in Caffe."""
        if propagate_down[0]:
            slope = self.derivative(bottom[0].data_tensor, top[0].data_tensor)
            bottom[0].diff_tensor = slope.mul_(slope if bottom[0] is top[0] else top[0].diff_tensor)
