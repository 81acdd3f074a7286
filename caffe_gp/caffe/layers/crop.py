"""Crop, a window with the size of another blob, and CropCenter, which cuts the same from both ends."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("Crop")
class CropLayer(Layer):
    """Axes from ``crop_param.axis`` on take the size of bottom 1, from ``offset`` on (one for all, or each).

    BVLC's rule: without an offset the window starts at 0. Files of the CRF-RNN fork, which aligned the window
    by coordinate maps, are given explicit offsets before they get here (``caffe_gp.surgery``). Bottom 1 gives
    its shape only; its diff is never written.
    """

    exact_num_bottom = 2
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.crop_param
        self._axis = bottom[0].canonical_axis(param.axis)
        self._offsets = list(param.offset)
        following = len(bottom[0].shape) - self._axis
        if len(self._offsets) > 1 and len(self._offsets) != following:
            raise self.error(
                "number of offset values specified must be equal to the number of dimensions following axis: "
                f"{len(self._offsets)} for {following}"
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Bottom 0's shape before the axis, bottom 1's from it on."""
        shape = list(bottom[0].shape)
        if len(bottom[1].shape) < len(shape):
            raise self.error(
                f"the reference must have the cropped axes, up to axis {len(shape) - 1}; found shapes "
                f"{bottom[0].shape} and {bottom[1].shape}"
            )
        self._window = [slice(None)] * len(shape)
        for i in range(self._axis, len(shape)):
            offset = 0
            if self._offsets:
                offset = self._offsets[0] if len(self._offsets) == 1 else self._offsets[i - self._axis]
            size = bottom[1].shape[i]
            if offset + size > shape[i]:
                raise self.error(
                    f"the crop for dimension {i} is out-of-bounds: offset {offset} + size {size} exceeds "
                    f"{shape[i]} (bottoms {bottom[0].shape} and {bottom[1].shape})"
                )
            self._window[i] = slice(offset, offset + size)
            shape[i] = size
        top[0].reshape(*shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data_tensor = bottom[0].data_tensor[tuple(self._window)].clone()

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dx = torch.zeros_like(bottom[0].data_tensor)
            dx[tuple(self._window)] = top[0].diff_tensor
            bottom[0].diff_tensor = dx


@register("CropCenter")
class CropCenterLayer(Layer):
    """``crop_size``, one for each axis, is cut from both ends of the axis."""

    exact_num_bottom = 1
    exact_num_top = 1
    reshapes_by_shape = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._cut = list(self.layer_param.crop_center_param.crop_size)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """What is left of every axis, at least 1."""
        shape = bottom[0].shape
        if len(self._cut) != len(shape):
            raise self.error(
                f"crop_size must be given once for each of the {len(shape)} axes of the bottom, found "
                f"{len(self._cut)} value(s)"
            )
        if any(2 * cut >= size for cut, size in zip(self._cut, shape)):
            raise self.error(f"crop_size {self._cut} on both ends leaves nothing of the shape {shape}")
        self._window = tuple(slice(cut, size - cut) for cut, size in zip(self._cut, shape))
        top[0].reshape(*(part.stop - part.start for part in self._window))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data_tensor = bottom[0].data_tensor[self._window].clone()

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Zeros around the top's diff."""
        if propagate_down[0]:
            dx = torch.zeros_like(bottom[0].data_tensor)
            dx[self._window] = top[0].diff_tensor
            bottom[0].diff_tensor = dx
