"""Bias and Scale: add or multiply by a blob that covers some axes of the bottom, repeated over the rest.

The second operand is a learned parameter (one bottom) or ``bottom[1]``. Its shape is that of
``bottom[0]`` from ``axis`` on, ``num_axes`` axes long (-1: to the end; 0: one number for all).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.base import Layer, cleared, scaled
from caffe_gp.caffe.layers.registry import register


class _OperandLayer(Layer):
    """What Bias and Scale share: finding the operand, its axis, and sums over the other axes."""

    min_bottom = 1
    max_bottom = 2
    exact_num_top = 1
    reshapes_by_shape = True
    keeps_places = True

    def operand_shape(self, bottom: Blob, axis: int, num_axes: int) -> tuple[int, ...]:
        """Shape of a learned operand; NetError if it would reach past the bottom's last axis."""
        start = bottom.canonical_axis(axis)
        if num_axes < -1:
            raise self.error(f"num_axes must be >= 0, or -1 for all axes to the end, found {num_axes}")
        if num_axes == -1:
            return bottom.shape[start:]
        if start + num_axes > len(bottom.shape):
            raise self.error(
                f"num_axes {num_axes} from axis {start} on reaches past the bottom's shape {bottom.shape}"
            )
        return bottom.shape[start : start + num_axes]

    def operand_view(self, bottom: Blob, operand: Blob, axis: int) -> tuple[int, ...]:
        """Shape in which ``operand`` broadcasts against the bottom; NetError where dimensions differ."""
        start = bottom.canonical_axis(axis) if operand.shape else 0
        end = start + len(operand.shape)
        if bottom.shape[start:end] != operand.shape:
            raise self.error(
                f"an operand of shape {operand.shape} does not fit the bottom of shape {bottom.shape} "
                f"from axis {start} on"
            )
        return (1,) * start + operand.shape + (1,) * (len(bottom.shape) - end)

    @staticmethod
    def sum_to(values: torch.Tensor, view: tuple[int, ...], shape: tuple[int, ...]) -> torch.Tensor:
        """Sum over the axes along which an operand of this ``view`` was repeated; always a new tensor."""
        axes = [i for i, (n, m) in enumerate(zip(values.shape, view, strict=True)) if m == 1 and n != 1]
        return (values.sum(axes) if axes else values.clone()).reshape(shape)


@register("Bias")
class BiasLayer(_OperandLayer):
    """``y = x + b``; ``blobs[0]`` or ``bottom[1]`` is b."""

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.bias_param
        if len(bottom) == 1 and not self.blobs:
            shape = self.operand_shape(bottom[0], param.axis, param.num_axes)
            fill(self.blobs.add_blob(*shape), param.filler)
        self.param_propagate_down = [True] * len(self.blobs)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        operand = bottom[1] if len(bottom) > 1 else self.blobs[0]
        self._view = self.operand_view(bottom[0], operand, self.layer_param.bias_param.axis)
        if bottom[0] is not top[0]:
            top[0].reshape_like(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        operand = bottom[1] if len(bottom) > 1 else self.blobs[0]
        bias = operand.data_tensor.reshape(self._view)
        if bottom[0] is top[0]:
            bottom[0].data_tensor.add_(bias)
        else:
            top[0].data_tensor = bottom[0].data_tensor + bias

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The diff itself for the bottom, its sum over the repeated axes for the operand."""
        dy = top[0].diff_tensor
        learned = len(bottom) == 1
        if learned and self.param_propagate_down[0]:
            self.blobs[0].diff_tensor.add_(self.sum_to(dy, self._view, self.blobs[0].shape))
        elif not learned and propagate_down[1]:
            bottom[1].diff_tensor = self.sum_to(dy, self._view, bottom[1].shape)
        if propagate_down[0] and bottom[0] is not top[0]:
            bottom[0].diff_tensor = dy.clone()


@register("Scale")
class ScaleLayer(_OperandLayer):
    """``y = x * s``, with ``bias_term`` ``y = x * s + b``.

    ``blobs`` hold s (unless it is ``bottom[1]``) and b. The default filler of s is 1.
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.scale_param
        learned = len(bottom) == 1
        if learned and not self.blobs:
            blob = self.blobs.add_blob(*self.operand_shape(bottom[0], param.axis, param.num_axes))
            if param.HasField("filler"):
                fill(blob, param.filler)
            else:
                blob.data_tensor.fill_(1)
        if param.bias_term and len(self.blobs) + len(bottom) < 3:
            # The bias has the scale's extent, whoever gives the scale.
            num_axes = param.num_axes if learned else len(bottom[1].shape)
            blob = self.blobs.add_blob(*self.operand_shape(bottom[0], param.axis, num_axes))
            fill(blob, param.bias_filler)
        self._input: torch.Tensor | None = None
        self.param_propagate_down = [True] * len(self.blobs)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param: Any = self.layer_param.scale_param
        scale = self._scale(bottom)
        self._view = self.operand_view(bottom[0], scale, param.axis)
        outer = bottom[0].count_from(0, bottom[0].canonical_axis(param.axis)) if scale.shape else 1
        # Caffe adds to a learned scale's diff, but overwrites it if nothing lies before the scale's axes
        # (several scales, a batch of one): iter_size > 1 then counts the last iteration only.
        self._accumulates = scale.count != bottom[0].count and (outer > 1 or scale.count == 1)
        if param.bias_term:
            self._bias_view = self.operand_view(bottom[0], self.blobs[-1], param.axis)
        if bottom[0] is not top[0]:
            top[0].reshape_like(bottom[0])

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The input, in place."""
        return bottom[0].count if bottom[0] is top[0] and self._scale_may_need_diff(bottom) else 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """In place the input is kept aside if the gradient of the scale will need it."""
        x = bottom[0].data_tensor
        scale = self._scale(bottom).data_tensor.reshape(self._view)
        in_place = bottom[0] is top[0]
        self._input = x.clone() if in_place and self._scale_may_need_diff(bottom) else None
        y = cleared(x.mul_(scale), scale) if in_place else scaled(x, scale)
        if self.layer_param.scale_param.bias_term:
            y.add_(self.blobs[-1].data_tensor.reshape(self._bias_view))
        if not in_place:
            top[0].data_tensor = y

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``ds = sum dy * x``, ``db = sum dy``, ``dx = dy * s``."""
        dy = top[0].diff_tensor
        learned, in_place = len(bottom) == 1, bottom[0] is top[0]
        if self.layer_param.scale_param.bias_term and self.param_propagate_down[-1]:
            self.blobs[-1].diff_tensor.add_(self.sum_to(dy, self._bias_view, self.blobs[-1].shape))
        if self.param_propagate_down[0] if learned else propagate_down[1]:
            x = self._input if in_place else bottom[0].data_tensor
            if x is None:
                raise self.error(
                    "the scale's diff needs a forward pass that keeps the layer's input; none has run, or "
                    "only one of a guided perturbation (only_diffs)"
                )
            ds = self.sum_to(dy * x, self._view, self._scale(bottom).shape)
            if learned and self._accumulates:
                self.blobs[0].diff_tensor.add_(ds)
            else:
                self._scale(bottom).diff_tensor = ds
        if propagate_down[0]:
            scale = self._scale(bottom).data_tensor.reshape(self._view)
            if in_place:
                cleared(dy.mul_(scale), scale)
            else:
                bottom[0].diff_tensor = scaled(dy, scale)

    def _scale(self, bottom: Sequence[Blob]) -> Blob:
        return bottom[1] if len(bottom) > 1 else self.blobs[0]

    def _scale_may_need_diff(self, bottom: Sequence[Blob]) -> bool:
        return len(bottom) > 1 or self.param_propagate_down[0]
