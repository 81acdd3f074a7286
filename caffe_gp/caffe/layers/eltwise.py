"""Eltwise: sum, product or maximum of blobs of one shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob, is_channels_last
from caffe_gp.caffe.layers.base import Layer, scaled
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb


@register("Eltwise")
class EltwiseLayer(Layer):
    """SUM (with ``coeff``), PROD or MAX over two or more bottoms.

    MAX resolves ties as Caffe does: between the first two bottoms to the second, later bottoms win only
    when strictly greater. The gradient goes to the winner alone.
    """

    min_bottom = 2
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.eltwise_param
        self._operation = param.operation
        self._stable = param.stable_prod_grad
        coeffs = list(param.coeff)
        if coeffs and len(coeffs) != len(bottom):
            raise self.error(f"expected one coeff for each of {len(bottom)} bottoms, found {len(coeffs)}")
        if coeffs and self._operation == pb.EltwiseParameter.PROD:
            raise self.error("coeff is only for SUM, found it with PROD")
        self._coeffs = coeffs or [1.0] * len(bottom)
        self._winner: torch.Tensor | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if any(blob is top[0] for blob in bottom):
            raise self.error("does not work in place (Caffe loses a bottom then); give the top another name")
        for i, blob in enumerate(bottom):
            if blob.shape != bottom[0].shape:
                raise self.error(f"bottom {i} has shape {blob.shape}, bottom 0 has {bottom[0].shape}")
        top[0].reshape_like(bottom[0])

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """MAX: of each value which bottom it is from, two bytes."""
        return top[0].count // 2 if self._operation == pb.EltwiseParameter.MAX else 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Combine the bottoms from the first to the last."""
        first, second, *rest = (blob.data_tensor for blob in bottom)
        if self._operation == pb.EltwiseParameter.PROD:
            y = first * second
            for x in rest:
                y.mul_(x)
        elif self._operation == pb.EltwiseParameter.SUM:
            y = self._sum_of_two(first, second, top[0])
            for x, coeff in zip(rest, self._coeffs[2:], strict=True):
                if coeff:  # 0 leaves a bottom out, NaNs and all
                    y.add_(x, alpha=coeff)
        else:
            first_wins = first > second
            y = torch.where(first_wins, first, second)
            self._winner = first_wins.logical_not().to(torch.int16)
            for i, x in enumerate(rest, start=2):
                wins = x > y
                self._winner.masked_fill_(wins, i)
                y = torch.where(wins, x, y)
        top[0].data_tensor = y

    def _sum_of_two(self, first: torch.Tensor, second: torch.Tensor, top: Blob) -> torch.Tensor:
        """In the top's own memory, where layouts agree: new memory takes as long as the sum."""
        one, other = self._coeffs[:2]
        y = first if one == 1 else scaled(first, one)
        if not other:
            return y.clone()
        fits = first.stride() == second.stride() and is_channels_last(first)
        return torch.add(y, second, alpha=other, out=top.own_data(first, second) if fits else None)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """SUM: the scaled diff; PROD: times the other factors; MAX: to the winner."""
        dy, y = top[0].diff_tensor, top[0].data_tensor
        for i, blob in enumerate(bottom):
            if not propagate_down[i]:
                continue
            if self._operation == pb.EltwiseParameter.PROD:
                blob.diff_tensor = self._others(bottom, i, y).mul_(dy)
            elif self._operation == pb.EltwiseParameter.SUM:
                blob.diff_tensor = dy.clone() if self._coeffs[i] == 1 else scaled(dy, self._coeffs[i])
            else:
                if self._winner is None or self._winner.shape != dy.shape:
                    raise self.error("backward needs a forward pass of the same shape first")
                blob.diff_tensor = dy * (self._winner == i)

    def _others(self, bottom: Sequence[Blob], index: int, product: torch.Tensor) -> torch.Tensor:
        """Product of all bottoms but one; without stable_prod_grad by division (NaN at 0, as in Caffe)."""
        if not self._stable:
            return product / bottom[index].data_tensor
        factors = [blob.data_tensor for i, blob in enumerate(bottom) if i != index]
        others = factors[0].clone()
        for factor in factors[1:]:
            others.mul_(factor)
        return others
