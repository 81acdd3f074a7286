"""Parts of images: what of a blob can have changed, and what of it is needed."""

from __future__ import annotations

from typing import NamedTuple

import torch

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """Of a layer that slides over images, each along the rows and the columns."""

    kernel: Pair
    stride: Pair
    pad: Pair


class Window(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, without the ends, of all images."""

    top: int
    bottom: int
    left: int
    right: int

    @staticmethod
    def whole(values: torch.Tensor) -> Window:
        """All of (N, C, H, W)."""
        return Window(0, values.shape[2], 0, values.shape[3])
