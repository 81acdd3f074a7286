"""Axpy: SENet's channels of features, each times a number of its own, on top of a short-cut."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("Axpy")
class AxpyLayer(Layer):
    """``a x + y``. Bottoms: a (N, C) or (N, C, 1, 1); x and y (N, C, H, W); the top is like x."""

    exact_num_bottom = 3
    exact_num_top = 1
    reshapes_by_shape = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if any(blob is top[0] for blob in bottom):
            raise self.error("does not work in place; give the top another name")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The shape of x. NetError where the bottoms do not fit together."""
        factors, x, y = (blob.shape for blob in bottom)
        if len(x) != 4 or x != y or factors not in (x[:2], (*x[:2], 1, 1)):
            raise self.error(
                "takes factors (N, C) or (N, C, 1, 1), then two blobs of one shape (N, C, H, W); found "
                f"{factors}, {x} and {y}"
            )
        top[0].reshape_like(bottom[1])

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The products that the factors' diffs are sums of."""
        return top[0].count

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        factors, x, y = (blob.data_tensor for blob in bottom)
        top[0].data_tensor = y.addcmul(x, factors.reshape(*x.shape[:2], 1, 1))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """``da = sum dy x`` over H and W, ``dx = a dy``, and dy to the short-cut."""
        dy, (factors, x, y) = top[0].diff_tensor, bottom
        if propagate_down[0]:
            factors.diff_tensor = (dy * x.data_tensor).sum((2, 3)).view(factors.shape)
        if propagate_down[1]:
            x.diff_tensor = dy * factors.data_tensor.reshape(*x.shape[:2], 1, 1)
        if propagate_down[2]:
            y.diff_tensor = dy.clone()
