"""Upsample: SegNet's and ENet's unpooling by the mask of a MAX Pooling, and the YOLO ports' repetition."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.registry import register
from caffe_gp.caffe.layers.unpooling import MaskLayer

_OF_THE_MASK = ("scale_h", "scale_w", "pad_out_h", "pad_out_w", "upsample_h", "upsample_w")


@register("Upsample")
class UpsampleLayer(MaskLayer):
    """Two layers of one name, which the number of their bottoms tells apart.

    Two bottoms, values and mask (SegNet, ENet): the values at the mask's places in a plane of zeros. The top
    is ``upsample_h`` x ``upsample_w`` if given, else ``scale`` (2) times the bottom less ``pad_out_h/w``. The
    fork keeps the size of its first image for all others; here it follows the bottom's.
    One bottom (the YOLO ports): each value ``scale`` (1) x ``scale`` times.
    """

    not_derivative = "where values of one place meet"
    min_bottom = 1
    max_bottom = 2
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.upsample_param
        self._masked = len(bottom) == 2
        self._size: tuple[int, int] | None = None
        if not self._masked:
            self._read_repetition()
            return
        for one, other in (("upsample_h", "upsample_w"), ("scale_h", "scale_w")):
            if param.HasField(one) != param.HasField(other):
                raise self.error(f"{one} and {other} must be given together")
        if param.HasField("upsample_h"):
            self._size = param.upsample_h, param.upsample_w
        square = (param.scale, param.scale)
        self._scale = (param.scale_h, param.scale_w) if param.HasField("scale_h") else square
        self._pad_out = (param.pad_out_h, param.pad_out_w)
        for pad, scale in zip(self._pad_out, self._scale):
            if pad and not self._size and scale != 2:
                raise self.error(f"pad_out_h and pad_out_w go with a scale of 2, found {scale}")

    def _read_repetition(self) -> None:
        param = self.layer_param.upsample_param
        given = [field for field in _OF_THE_MASK if param.HasField(field)]
        if given:
            raise self.error(
                f"{given[0]} needs two bottoms, values and the mask of a MAX Pooling; found one bottom, as "
                "the YOLO ports have it, with scale alone"
            )
        scale = param.scale if param.HasField("scale") else 1
        self._scale, self._pad_out = (scale, scale), (False, False)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(N, C, height, width)."""
        if self._masked:
            self.check_mask(bottom)
        elif len(bottom[0].shape) != 4:
            raise self.error(f"the bottom must have 4 axes, found {bottom[0].shape}")
        n, c, *sizes = bottom[0].shape
        size = self._size or tuple(s * k - p for s, k, p in zip(sizes, self._scale, self._pad_out))
        if min(size) < 1:
            raise self.error(f"the output size would be {size[0]} x {size[1]}")
        top[0].reshape(n, c, *size)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        return self.mask_workspace(bottom, top) if self._masked else 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self._masked:
            self.unpool(bottom, top)
            return
        n, c, h, w = bottom[0].shape
        values = bottom[0].data_tensor.view(n, c, h, 1, w, 1)
        repeated = values.expand(n, c, h, self._scale[0], w, self._scale[1])
        top[0].data_tensor = repeated.reshape(top[0].shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Gathered from the mask's places; or the sum over what a value was repeated to."""
        if propagate_down[0] and self._masked:
            self.gather(top, bottom)
        elif propagate_down[0]:
            n, c, h, w = bottom[0].shape
            dy = top[0].diff_tensor.reshape(n, c, h, self._scale[0], w, self._scale[1])
            bottom[0].diff_tensor = dy.sum((3, 5))
