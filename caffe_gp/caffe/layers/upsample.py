"""Upsample: SegNet's and ENet's unpooling by the mask of a MAX Pooling layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("Upsample")
class UpsampleLayer(Layer):
    """Bottoms: values and their indices h * W + w in the top; everything else in the top is zero.

    The top is ``upsample_h`` x ``upsample_w`` if given, else ``scale`` times the bottom minus
    ``pad_out_h/w``.
    """

    exact_num_bottom = 2
    exact_num_top = 1

    def check_blob_counts(self, num_bottom: int, num_top: int) -> None:
        """The YOLO forks have another layer of this name."""
        if num_bottom == 1:
            raise self.error(
                "takes two bottoms, values and the mask of a MAX Pooling (SegNet's and ENet's layer); found "
                "one, as the forks for YOLO have it, which repeat each value scale x scale times. That layer "
                "is not available here; the same is a Deconvolution with kernel_size and stride of the "
                "scale, num_output and group of the bottom's channels, bias_term: false, a weight_filler of "
                "type 'constant' and value 1, and param { lr_mult: 0 }"
            )
        super().check_blob_counts(num_bottom, num_top)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.upsample_param
        self._given = (param.upsample_h, param.upsample_w) if param.HasField("upsample_h") else None
        if (param.HasField("upsample_h")) != (param.HasField("upsample_w")):
            raise self.error("upsample_h and upsample_w must be given together")
        square = (param.scale, param.scale)
        self._scale = (param.scale_h, param.scale_w) if param.HasField("scale_h") else square
        self._pad_out = (param.pad_out_h, param.pad_out_w)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(N, C, unpooled H, unpooled W)."""
        if len(bottom[0].shape) != 4 or bottom[0].shape != bottom[1].shape:
            raise self.error(
                f"values and mask must have one 4-D shape: {bottom[0].shape} and {bottom[1].shape}"
            )
        n, c, *sizes = bottom[0].shape
        if self._given:
            size = self._given
        else:
            size = tuple(s * k - p for s, k, p in zip(sizes, self._scale, self._pad_out))
        if min(size) < 1:
            raise self.error(f"the output size would be {size}")
        top[0].reshape(n, c, *size)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        n, c, h, w = top[0].shape
        index = self._index(bottom, h * w)
        y = torch.zeros(n, c, h * w, device=index.device)
        y.scatter_(2, index, bottom[0].data_tensor.reshape(n, c, -1))
        top[0].data_tensor = y.view(n, c, h, w)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Gather the diffs from the same places; the mask gets none."""
        if propagate_down[0]:
            n, c, h, w = top[0].shape
            dy = top[0].diff_tensor.reshape(n, c, -1)
            bottom[0].diff_tensor = dy.gather(2, self._index(bottom, h * w)).view(bottom[0].shape)

    def _index(self, bottom: Sequence[Blob], limit: int) -> torch.Tensor:
        index = bottom[1].data_tensor.flatten(2).to(torch.int64)
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < limit:
            raise self.error(
                f"the mask holds indices {int(index.min())}..{int(index.max())}, the output plane has "
                f"{limit} places; set upsample_h and upsample_w to the size of the pooled blob"
            )
        return index
