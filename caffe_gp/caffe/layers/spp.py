"""SPP: spatial pyramid pooling (He et al. 2014)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.pooling import PoolingLayer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb


@register("SPP")
class SPPLayer(Layer):
    """Pools into 1, 2 x 2, 4 x 4, ... bins (``pyramid_height`` levels) and lists all bins: (N, C * bins).

    A pyramid of one level keeps the pooled 4-D shape, as in Caffe.
    """

    copies = 2
    exact_num_bottom = 1
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the height; the levels depend on the bottom's size and are made in reshape."""
        self._height = self.layer_param.spp_param.pyramid_height
        if self._height < 1:
            raise self.error("spp_param.pyramid_height must be at least 1")
        self._size: tuple[int, ...] = ()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """One Pooling layer a level."""
        if len(bottom[0].shape) != 4:
            raise self.error(
                f"Input must have 4 axes, corresponding to (num, channels, height, width): {bottom[0].shape}"
            )
        if self._size != bottom[0].shape[2:]:
            self._size = bottom[0].shape[2:]
            self._levels = [self._make_level(level, bottom) for level in range(self._height)]
        for layer, blob in self._levels:
            layer.reshape(bottom, [blob])
        if self._height == 1:
            top[0].reshape_like(self._levels[0][1])
        else:
            top[0].reshape(bottom[0].shape[0], sum(blob.count_from(1) for _, blob in self._levels))

    def _make_level(self, level: int, bottom: Sequence[Blob]) -> tuple[PoolingLayer, Blob]:
        bins = 2**level
        param = pb.LayerParameter(name=f"{self.name}_level{level}", type="Pooling")
        pooling = param.pooling_param
        pooling.pool = self.layer_param.spp_param.pool
        kernel = [math.ceil(size / bins) for size in self._size]
        pooling.kernel_h, pooling.kernel_w = kernel
        pooling.stride_h, pooling.stride_w = kernel
        pooling.pad_h, pooling.pad_w = ((k * bins - size + 1) // 2 for k, size in zip(kernel, self._size))
        layer, blob = PoolingLayer(param, self.phase), Blob()
        layer.setup(bottom, [blob])
        return layer, blob

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for layer, blob in self._levels:
            layer.forward(bottom, [blob])
        parts = [blob.data_tensor for _, blob in self._levels]
        top[0].data_tensor = parts[0] if self._height == 1 else torch.cat([p.flatten(1) for p in parts], 1)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        total = torch.zeros(bottom[0].shape, device=bottom[0].data_tensor.device)
        first = 0
        for layer, blob in self._levels:
            dy = top[0].diff_tensor.reshape(top[0].shape[0], -1)[:, first : first + blob.count_from(1)]
            first += blob.count_from(1)
            blob.diff_tensor = dy.reshape(blob.shape).clone()
            layer.backward([blob], [True], bottom)
            total += bottom[0].diff_tensor
        bottom[0].diff_tensor = total
