"""The two Gaussian kernels of a dense CRF over the pixels of an image, and how they are normalised.

Spatial: pixels at a small distance. Bilateral: at some distance and of similar colour. Features are numbered
row by row over the image; x is the column, y the row.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

Array = Any  # numpy's, or an engine's own: see ``rows.Rows``

NORMALIZATIONS = ("after", "symmetric", "none")


class Lattice(Protocol):
    """What a Kernel needs of a lattice: ``lattice.Permutohedral`` on numpy arrays or its like."""

    weight: Array

    def splat(self, values: Array, weight: Array) -> Array:
        """Values of the points (n, C) gathered at the corners: (vertices + 1, C), the last row zero."""

    def blur(self, rows: Array, reverse: bool = False) -> Array:
        """Values of the corners blurred along every lattice direction; ``reverse``: the transpose."""

    def mix(self, rows: Array, matrix: Array) -> Array:
        """rows @ matrix, with a matrix (C, C)."""

    def slice(self, rows: Array, weight: Array, onto: Array) -> Array:
        """Adds to ``onto`` (n, C) what the corners hold, times ``weight`` (n, d + 1); returns ``onto``."""

    def sums(self) -> Array:
        """What splat, blur and slice make of ones: (n, 1)."""


class Kernel:
    """A Gaussian kernel K over pixels, and how n = 1 / (K 1 + 1e-20) normalises it.

    'after'      n o (K v): DeepLab's and CRF-RNN's rule
    'symmetric'  sqrt(n) o (K (sqrt(n) o v)): Kraehenbuehl's default
    'none'       K v

    The normalisation is folded into the weights with which values enter the lattice, ``into``, and leave it,
    ``out_of``, (n, d + 1) each.
    """

    def __init__(self, lattice: Lattice, normalization: str = "after") -> None:
        if normalization not in NORMALIZATIONS:
            raise ValueError(f"unknown normalization '{normalization}'; known: {', '.join(NORMALIZATIONS)}")
        self.lattice = lattice
        self.into = self.out_of = lattice.weight
        if normalization != "none":
            norm = 1 / (lattice.sums() + 1e-20)
            if normalization == "symmetric":
                norm = norm**0.5
                self.into = lattice.weight * norm
            self.out_of = lattice.weight * norm


def spatial_features(height: int, width: int, deviation: float) -> np.ndarray:
    """(height * width, 2) float32: x and y over their standard deviation in pixels."""
    features = np.empty((height, width, 2), np.float32)
    features[..., 0] = np.arange(width, dtype=np.float32) / np.float32(deviation)
    features[..., 1] = np.arange(height, dtype=np.float32)[:, None] / np.float32(deviation)
    return features.reshape(-1, 2)


def bilateral_features(image: np.ndarray, deviation: float, colour_deviation: float) -> np.ndarray:
    """(H * W, 2 + C) float32: x, y over ``deviation`` (pixels), colours over theirs (grey levels).

    image   (C, H, W), any numeric type
    """
    channels, height, width = image.shape
    features = np.empty((height * width, 2 + channels), np.float32)
    features[:, :2] = spatial_features(height, width, deviation)
    features[:, 2:] = image.reshape(channels, -1).T / np.float32(colour_deviation)
    return features
