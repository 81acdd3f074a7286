"""Convolutions whose padding is wider than their kernel: of the outputs, most see the image or zeros only.

FCNs pad the image by 100. Outputs whose kernel lies wholly in the padding are the bias; the others come from
a convolution of the image with as much padding as the kernel reaches over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from caffe_gp.caffe.fast.windows import Geometry, Pair, Window, channels_last


class WidePadding(NamedTuple):
    """A convolution of stride 1 with more padding than its kernel reaches over, on both axes."""

    geometry: Geometry

    @property
    def _reach(self) -> Pair:
        (kh, kw), (dh, dw) = self.geometry.kernel, self.geometry.dilation
        return dh * (kh - 1), dw * (kw - 1)

    def suits(self) -> bool:
        """Whether it is one."""
        wide = all(pad > reach for pad, reach in zip(self.geometry.pad, self._reach))
        return wide and self.geometry.stride == (1, 1)

    def _seen(self, x: torch.Tensor, out: torch.Tensor) -> Window:
        """The outputs that see the image."""
        return self.geometry.reached(Window.whole(x.shape), out.shape[2:])

    def forward(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, group: int, y: torch.Tensor
    ) -> None:
        """All outputs in ``y``."""
        top, bottom, left, right = self._seen(x, y)
        offsets = y.new_zeros(1) if bias is None else bias.view(1, -1, 1, 1)
        rows = y[:, :, top:bottom]
        for border in (y[:, :, :top], y[:, :, bottom:], rows[..., :left], rows[..., right:]):
            border.copy_(offsets)
        seen = F.conv2d(x, weight, bias, 1, self._reach, self.geometry.dilation, group)
        y[:, :, top:bottom, left:right] = seen

    def gradients(
        self, dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, group: int, wanted: Sequence[bool]
    ) -> tuple[torch.Tensor, ...]:
        """Of the image, the weights and the bias, each where it is wanted.

        To the first two only the outputs add something that see the image; to the bias all of them do.
        """
        seen = channels_last(self._seen(x, dy).of(dy))
        dilation, mask = self.geometry.dilation, [*wanted[:2], False]
        dx, dw, _ = torch.ops.aten.convolution_backward(
            seen, x, weight, None, [1, 1], self._reach, dilation, False, [0, 0], group, mask
        )
        return dx, dw, dy.sum((0, 2, 3)) if wanted[2] else dy
