"""Upsample: SegNet's and ENet's unpooling by the mask of a MAX Pooling, and the YOLO ports' repetition."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.registry import register
from caffe_gp.caffe.layers.unpooling import MaskLayer
from caffe_gp.images.unpooling import Upsample
from caffe_gp.proto.set_fields import set_fields


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
        fields = set_fields(self.layer_param.upsample_param)
        self._masked = len(bottom) == 2
        with self.values_named():
            self._rule = Upsample(self._masked, **fields)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(N, C, height, width)."""
        self.check_bottoms(bottom)
        n, c, *size = bottom[0].shape
        with self.values_named():
            top[0].reshape(n, c, *self._rule.output_size(size))

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        return self.mask_workspace(bottom, top) if self._masked else 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self._masked:
            self.unpool(bottom, top)
            return
        (n, c, h, w), (rows, columns) = bottom[0].shape, self._rule.factors
        values = bottom[0].data_tensor.view(n, c, h, 1, w, 1)
        top[0].data_tensor = values.expand(n, c, h, rows, w, columns).reshape(top[0].shape)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Gathered from the mask's places; or the sum over what a value was repeated to."""
        if propagate_down[0] and self._masked:
            self.gather(top, bottom)
        elif propagate_down[0]:
            (n, c, h, w), (rows, columns) = bottom[0].shape, self._rule.factors
            bottom[0].diff_tensor = top[0].diff_tensor.reshape(n, c, h, rows, w, columns).sum((3, 5))
