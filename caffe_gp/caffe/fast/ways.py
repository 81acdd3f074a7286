"""A way to compute a convolution of images on the CPU, other than the plain one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.windows import Geometry, Window, channels_last, is_whole, zeros


class Filters(NamedTuple):
    """Of a Convolution layer: weights (outputs, channels / group, kernel) and bias (outputs,)."""

    weight: Blob
    bias: Blob | None
    geometry: Geometry
    group: int

    def bias_tensor(self) -> torch.Tensor | None:
        """The bias, where there is one."""
        return None if self.bias is None else self.bias.data_tensor


class Way:
    """One layer's. Blobs are its bottom and top, (N, C, H, W), of shapes that belong together.

    What a pass that returns False has written is void: the plain path computes it.
    """

    rectifies = False  # whether ``forward`` can do a ReLU on the way
    keeps_weights = False  # in another form, so that passes without parameters' diffs do not need them

    def __init__(self, filters: Filters) -> None:
        self.filters = filters

    @classmethod
    def suits(cls, filters: Filters, learns: bool) -> bool:
        """Whether it suits a layer, whatever the images' sizes. learns: its weights are being trained."""
        raise NotImplementedError

    def pays(self, blob: Blob, out: Blob) -> bool:
        """Whether it pays for these shapes: by a fixed rule, so that results repeat."""
        raise NotImplementedError

    def pays_backward(self, blob: Blob, out: Blob) -> bool:
        """The same for the pass backward."""
        return self.pays(blob, out)

    def workspace(self, blob: Blob, out: Blob) -> int:
        """Values that a pass takes besides the blobs."""
        return 0

    def kept(self) -> int:
        """Values that it keeps from pass to pass."""
        return 0

    def seen(self, blob: Blob, out: Blob) -> Window:
        """The outputs that see the images, and not their padding alone."""
        return self.filters.geometry.reached(Window.whole(blob.shape), out.shape[2:])

    def whole(self, window: Window, out: Blob) -> Window:
        """A window of the top together with all whose last bits depend on the same inputs."""
        return window

    def forward(self, blob: Blob, out: Blob, window: Window | None, rectify: bool) -> bool:
        """The top's data, or at least those in the window; rectified if that is asked for."""
        raise NotImplementedError

    def data_gradient(self, blob: Blob, out: Blob, window: Window | None) -> bool:
        """The bottom's diff, or at least that in the window."""
        return False

    def parameter_gradients(self, blob: Blob, out: Blob, learns: Sequence[bool]) -> bool:
        """Add to the diffs of the weights and of the bias, each where it ``learns``."""
        return False


def rows_of(values: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) as a matrix (N * H * W, C); a view where channels come last."""
    return channels_last(values).permute(0, 2, 3, 1).view(-1, values.shape[1])


def diff_to_write(blob: Blob, window: Window | None, dy: torch.Tensor) -> torch.Tensor:
    """A channels-last tensor for the blob's diff, to be written in the window, and 0 outside.

    dy   what is read meanwhile
    """
    return blob.own_diff(dy) if is_whole(window, blob.shape) else zeros(blob.shape)


def add_bias_gradient(filters: Filters, dy: torch.Tensor) -> None:
    """Add the diffs' sum over images and places to the bias' diff."""
    assert filters.bias is not None
    filters.bias.diff_tensor.add_(dy.sum((0, 2, 3)))
