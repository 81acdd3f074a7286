"""The rule of DeepLab's Interp layer: what size it makes, and the weights of its bilinear resampling.

Both engines' Interp layers take the size from here; the one for BVLC Caffe resamples with the matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np


@dataclass(frozen=True)
class Interp:
    """The fields of ``interp_param`` that are set; the others None. ValueError for values that make no sense.

    Whoever gives both factors shrinks first; whoever gives one of them needs no height and width. Pads are
    zero or negative and crop the input at its beginnings and ends.
    """

    height: int | None = None
    width: int | None = None
    zoom_factor: int | None = None
    shrink_factor: int | None = None
    pad_beg: int = 0
    pad_end: int = 0

    def __post_init__(self) -> None:
        if max(self.pad_beg, self.pad_end) > 0:
            raise ValueError(f"Only supports non-pos padding (cropping): {self.pad_beg}, {self.pad_end}")
        factors = {"zoom_factor": self.zoom_factor, "shrink_factor": self.shrink_factor}
        for field, value in factors.items():
            if value is not None and value < 1:
                raise ValueError(f"{field} must be positive, found {value}")
        if set(factors.values()) == {None} and None in (self.height, self.width):
            raise ValueError("interp_param needs shrink_factor, zoom_factor, or height and width")

    def crop(self, size: Sequence[int]) -> tuple[slice, ...]:
        """What is left of an input of ``size`` (height, width)."""
        return tuple(slice(-self.pad_beg, n + self.pad_end) for n in size)

    def output_size(self, size: Sequence[int]) -> list[int]:
        """(height, width) made from an input of ``size``: (n - 1) // shrink + 1, then n + (n - 1)(zoom - 1).

        ValueError if nothing is left.
        """
        left = [n + self.pad_beg + self.pad_end for n in size]
        out = [self._scaled(n) for n in left]
        if self.zoom_factor is None and self.shrink_factor is None:
            out = [self.height or 0, self.width or 0]
        if min(*left, *out) < 1:
            raise ValueError(
                f"input size {tuple(size)} cropped by {-self.pad_beg}, {-self.pad_end} gives {tuple(out)}"
            )
        return out

    def _scaled(self, n: int) -> int:
        if self.shrink_factor is not None:
            n = (n - 1) // self.shrink_factor + 1
        if self.zoom_factor is not None:
            n = n + (n - 1) * (self.zoom_factor - 1)
        return n


def resampling_matrix(source: int, target: int) -> np.ndarray:
    """(target, source) float32: bilinear weights along one axis with aligned corners.

    Target i lies at i * (source - 1) / (target - 1) of the source. The transpose is the adjoint.
    """
    place = np.arange(target) * ((source - 1) / (target - 1) if target > 1 else 0.0)
    low = np.minimum(place.astype(np.int64), source - 1)
    high = np.minimum(low + 1, source - 1)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), low), 1 - (place - low))
    np.add.at(matrix, (np.arange(target), high), place - low)
    return matrix.astype(np.float32)
