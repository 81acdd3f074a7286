"""Parts of images: what of a blob can have changed, and what of it is needed."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from typing import NamedTuple

import torch

Pair = tuple[int, int]
_MANY = 1 << 20  # values


def pair(values: Sequence[int]) -> Pair:
    """The two values of two axes."""
    rows, columns = values
    return rows, columns


class Geometry(NamedTuple):
    """Of a layer that slides over images, each along the rows and the columns."""

    kernel: Pair
    stride: Pair
    pad: Pair
    dilation: Pair = (1, 1)

    def reached(self, window: Window, size: Sequence[int]) -> Window:
        """The part of the outputs, of which there are ``size``, that depends on a part of the inputs."""
        sides = []
        for axis, (first, end) in enumerate((window[:2], window[2:])):
            stride, pad = self.stride[axis], self.pad[axis]
            extent = self.dilation[axis] * (self.kernel[axis] - 1)
            low = max(0, -(-(first + pad - extent) // stride))
            high = min(size[axis], (end - 1 + pad) // stride + 1)
            sides += [low, high] if first < end and low < high else [0, 0]
        return Window(*sides)


def channels_last(values: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) in that layout, in which the fast paths compute."""
    if values.shape[1] == 1:  # in both layouts at once; torch takes the other unless the strides say which
        n, _, height, width = values.shape
        return values.contiguous().as_strided(values.shape, (height * width, 1, width, 1))
    return values.contiguous(memory_format=torch.channels_last)


def zeros(shape: Sequence[int]) -> torch.Tensor:
    """(N, C, H, W) zeros, channels-last; the system gives the memory of many where it is first written."""
    n, c, h, w = shape
    count = math.prod(shape)
    if count < _MANY or not hasattr(mmap, "MAP_ANONYMOUS"):
        return torch.zeros((n, h, w, c)).permute(0, 3, 1, 2)
    # A map of its own: torch writes zeros all over, and numpy asks for pages of megabytes.
    memory = mmap.mmap(-1, 4 * count, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=torch.float32).view(n, h, w, c).permute(0, 3, 1, 2)


class Window(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, without the ends, of all images."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """The part of (N, C, H, W), a view."""
        return values[:, :, self.top : self.bottom, self.left : self.right]

    def within(self, other: Window) -> Window:
        """What is in both; zeros if nothing is."""
        top, bottom = max(self.top, other.top), min(self.bottom, other.bottom)
        left, right = max(self.left, other.left), min(self.right, other.right)
        return Window(top, bottom, left, right) if top < bottom and left < right else Window(0, 0, 0, 0)

    def from_corner_of(self, other: Window) -> Window:
        """The same, counted from the other's first row and column."""
        return Window(
            self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left
        )

    @staticmethod
    def whole(shape: Sequence[int]) -> Window:
        """All of (N, C, H, W)."""
        return Window(0, shape[2], 0, shape[3])


def is_whole(window: Window | None, shape: Sequence[int]) -> bool:
    """Whether it is all of (N, C, H, W); None stands for that."""
    return window is None or window == Window.whole(shape)
