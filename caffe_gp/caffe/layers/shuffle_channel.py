"""ShuffleChannel: ShuffleNet's exchange of channels between the groups of its convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("ShuffleChannel")
class ShuffleChannelLayer(Layer):
    """Of C channels in ``group`` g groups, channel i of group j becomes channel i g + j."""

    exact_num_bottom = 1
    exact_num_top = 1
    reshapes_by_shape = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[0] is top[0]:
            raise self.error("does not work in place; give the top another name")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The bottom's shape. NetError where its channels make no such groups."""
        group, shape = self.layer_param.shuffle_channel_param.group, bottom[0].shape
        if len(shape) < 2:
            raise self.error(f"needs a bottom with a channel axis, found shape {shape}")
        if group < 1 or shape[1] % group:
            raise self.error(f"group {group} does not divide the {shape[1]} channels of the bottom")
        self._group = group
        top[0].reshape_like(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data_tensor = _shuffled(bottom[0].data_tensor, self._group)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The channels back where they were: the same with C / g groups."""
        if propagate_down[0]:
            dy = top[0].diff_tensor
            bottom[0].diff_tensor = _shuffled(dy, dy.shape[1] // self._group)


def _shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    order = torch.arange(x.shape[1], device=x.device).view(groups, -1).t().flatten()
    return x.index_select(1, order)
