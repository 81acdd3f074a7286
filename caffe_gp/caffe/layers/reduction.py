"""Reduction and ArgMax: a few numbers for many."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer, scaled
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb


@register("Reduction")
class ReductionLayer(Layer):
    """``coeff`` times SUM, ASUM (of magnitudes), SUMSQ (of squares) or MEAN over the axes from ``axis``."""

    exact_num_bottom = 1
    exact_num_top = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The axes before ``axis``."""
        param = self.layer_param.reduction_param
        axis = bottom[0].canonical_axis(param.axis)
        top[0].reshape(bottom[0].shape[:axis])
        self._rows, self._length = bottom[0].count_from(0, axis), bottom[0].count_from(axis)
        self._operation, self._coeff = param.operation, param.coeff
        if self._operation == pb.ReductionParameter.MEAN:
            self._coeff /= max(self._length, 1)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data_tensor.reshape(self._rows, self._length)
        if self._operation == pb.ReductionParameter.ASUM:
            x = x.abs()
        elif self._operation == pb.ReductionParameter.SUMSQ:
            x = x.square()
        top[0].data_tensor = scaled(x.sum(1), self._coeff).view(top[0].shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Spread the diff, times sign(x) or 2x where those belong."""
        if not propagate_down[0]:
            return
        dy = (top[0].diff_tensor * self._coeff).reshape(self._rows, 1)
        if self._operation == pb.ReductionParameter.ASUM:
            dx = scaled(bottom[0].data_tensor.reshape(self._rows, self._length).sign(), dy)
        elif self._operation == pb.ReductionParameter.SUMSQ:
            dx = scaled(bottom[0].data_tensor.reshape(self._rows, self._length), 2 * dy)
        else:
            dx = dy.expand(self._rows, self._length).contiguous()
        bottom[0].diff_tensor = dx.reshape(bottom[0].shape)


@register("ArgMax")
class ArgMaxLayer(Layer):
    """Index of the ``top_k`` largest values along ``axis`` or over each item; of ties the larger index.

    With ``out_max_val`` the values: instead of the indices if ``axis`` is given, else behind them.
    """

    exact_num_bottom = 1
    exact_num_top = 1
    copies = 4

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.argmax_param
        if not bottom[0].shape:
            raise self.error("the bottom must have at least 1 axis, found a single number")
        self._k, self._values = param.top_k, param.out_max_val
        self._axis = bottom[0].canonical_axis(param.axis) if param.HasField("axis") else None
        most = bottom[0].count_from(1) if self._axis is None else bottom[0].shape[self._axis]
        if not 1 <= self._k <= most:
            raise self.error(
                f"top_k must be in 1 to {most} for the bottom's shape {bottom[0].shape}, found {self._k}"
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """``axis`` shrinks to top_k; without it (N, 1 or 2, top_k, 1, ...)."""
        shape = list(bottom[0].shape)
        if self._axis is None:
            shape = [shape[0]] + [1] * (max(len(shape), 3) - 1)
            shape[1:3] = [2 if self._values else 1, self._k]
        else:
            shape[self._axis] = self._k
        top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data_tensor
        if self._axis is None:
            values, indices = _largest(x.reshape(x.shape[0], -1), 1, self._k)
            parts = [indices.to(x.dtype), values] if self._values else [indices.to(x.dtype)]
            top[0].data_tensor = torch.stack(parts, 1).reshape(top[0].shape)
        else:
            values, indices = _largest(x, self._axis, self._k)
            top[0].data_tensor = values if self._values else indices.to(x.dtype)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            raise self.error("has no gradient")

    def allow_force_backward(self, bottom_index: int) -> bool:
        return False


def _largest(x: torch.Tensor, axis: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and indices of the k largest along ``axis``, descending by (value, index) as Caffe sorts."""
    size = x.shape[axis]
    if k == 1:
        values = x.amax(axis, keepdim=True)
        view = [1] * x.dim()
        view[axis] = size
        places = torch.arange(size, device=x.device).view(view)
        return values, torch.where(x == values, places, -1).amax(axis, keepdim=True).clamp_(min=0)
    values, order = torch.sort(x.flip(axis), dim=axis, descending=True, stable=True)
    return values.narrow(axis, 0, k).contiguous(), size - 1 - order.narrow(axis, 0, k)
