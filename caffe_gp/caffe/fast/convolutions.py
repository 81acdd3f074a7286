"""All ways to compute a convolution; a layer goes the first one that pays."""

from __future__ import annotations

from caffe_gp.caffe import fast
from caffe_gp.caffe.fast.few_channels_layer import FewChannels
from caffe_gp.caffe.fast.few_patches import FewPatches
from caffe_gp.caffe.fast.patch_product import PatchProduct
from caffe_gp.caffe.fast.pointwise import Pointwise
from caffe_gp.caffe.fast.ways import Filters, Way
from caffe_gp.caffe.fast.wide_padding import WidePadding
from caffe_gp.caffe.fast.winograd_7_layer import Winograd7Layer
from caffe_gp.caffe.fast.winograd_layer import WinogradLayer

_ALL: tuple[type[Way], ...] = (
    WinogradLayer, Winograd7Layer, Pointwise, PatchProduct, FewChannels, FewPatches, WidePadding
)  # fmt: skip
_MOST_STRIDE = 1 << 10  # torch's functions fail with huge ones


def ways_for(filters: Filters, learns: bool) -> list[Way]:
    """Those that suit a layer, in the order in which they are asked whether they pay."""
    if not fast.wanted() or max(filters.geometry.stride) > _MOST_STRIDE:
        return []
    return [way(filters) for way in _ALL if way.suits(filters, learns)]
