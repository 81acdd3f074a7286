"""CRF-RNN's mean field in float64 and in its own order of operations, for tests on either engine.

It filters with the lattice's matrix, which tests/crf compares with exact Gaussians.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from caffe_gp.crf import Permutohedral, bilateral_features, spatial_features


def matrix_of(features: np.ndarray) -> np.ndarray:
    """The filter normalised afterwards, as a matrix."""
    kernel = Permutohedral(features).filter(np.eye(len(features), dtype=np.float32)).astype(np.float64)
    return kernel / kernel.sum(1, keepdims=True)


def mean_field(
    images: np.ndarray, iterations: int, alpha: float, beta: float, gamma: float
) -> Callable[..., np.ndarray]:
    """A function of u, q_0, image, W_s, W_b, C -> q_T, with the kernels of ``images`` (N, C, H, W)."""
    height, width = images.shape[2:]
    spatial = matrix_of(spatial_features(height, width, gamma))
    bilaterals = [matrix_of(bilateral_features(image, alpha, beta)) for image in images]

    def run(
        unary: np.ndarray, q: np.ndarray, _image: np.ndarray, w_s: np.ndarray, w_b: np.ndarray, c: np.ndarray
    ) -> np.ndarray:
        w_s, w_b, c = (matrix.reshape(matrix.shape[-2:]) for matrix in (w_s, w_b, c))
        tops = []
        for u, start, bilateral in zip(unary, q, bilaterals):
            u, now = u.reshape(len(u), -1), start.reshape(len(u), -1)
            for _ in range(iterations):
                p = np.exp(now - now.max(0))
                p /= p.sum(0)
                message = w_s @ (p @ spatial.T) + w_b @ (p @ bilateral.T)
                now = u - c @ message
            tops.append(now.reshape(start.shape))
        return np.stack(tops)

    return run
