"""The permutohedral lattice against exact Gaussians, its adjoint, and what must not matter."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from caffe_gp.crf import PRESETS, Kernel, Permutohedral, bilateral_features, spatial_features

pytestmark = pytest.mark.engine

RNG = np.random.RandomState


def exact(features: np.ndarray, values: np.ndarray, normalization: str = "after") -> np.ndarray:
    """The normalised Gaussian filter by the n x n matrix, in float64."""
    features = features.astype(np.float64)
    squared = ((features[:, None] - features[None]) ** 2).sum(2)
    kernel = np.exp(-squared / 2)
    norm = 1 / kernel.sum(1, keepdims=True)
    if normalization == "symmetric":
        return np.sqrt(norm) * (kernel @ (np.sqrt(norm) * values))
    return norm * (kernel @ values)


def filtered(kernel: Kernel, values: np.ndarray) -> np.ndarray:
    """Values (n, 8) through the kernel's three steps."""
    lattice = kernel.lattice
    rows = lattice.blur(lattice.splat(values, kernel.into))
    return lattice.slice(rows, kernel.out_of, np.zeros_like(values))


@pytest.mark.parametrize("deviation", (2.0, 3.0, 6.0))
@pytest.mark.parametrize("normalization", ("after", "symmetric"))
def test_spatial_filter_is_close_to_the_exact_one(deviation: float, normalization: str) -> None:
    features = spatial_features(40, 36, deviation)
    values = RNG(0).rand(len(features), 8).astype(np.float32)
    found = filtered(Kernel(Permutohedral(features), normalization), values)
    error = np.abs(found - exact(features, values, normalization))
    assert error.mean() <= 0.005 and error.max() <= 0.05


@pytest.mark.parametrize("name", ("2007_000033", "2007_000129", "2007_000346", "2007_000452"))
@pytest.mark.parametrize("preset", ("crfrnn", "deeplab", "deeplab-mat", "deeplab-pytorch"))
def test_bilateral_filter_of_real_images_is_close_to_the_exact_one(photo, name: str, preset: str) -> None:
    """Values in [0, 1] that follow the image, as labels do; the lattice is coarse where a colour is alone."""
    image = photo(name)[100:148, 150:198].transpose(2, 0, 1)
    features = bilateral_features(image, PRESETS[preset].bi_xy_std, PRESETS[preset].bi_rgb_std)
    values = np.zeros((len(features), 8), np.float32)
    values[:, :3] = image.reshape(3, -1).T / 255.0
    values[:, 3:6] = 1 / (1 + np.exp(-(image.reshape(3, -1).T - 110.0) / 20))
    error = np.abs(filtered(Kernel(Permutohedral(features)), values) - exact(features, values))[:, :6]
    assert error.mean() <= 0.005 and error.max() <= 0.05


@pytest.mark.parametrize("dimensions", (1, 2, 3, 5, 8))
@pytest.mark.parametrize("channels", (1, 8, 21))
def test_adjoint(dimensions: int, channels: int) -> None:
    rng = RNG(dimensions)
    lattice = Permutohedral(rng.randn(400, dimensions) * 3)
    x, y = rng.randn(2, 400, channels)
    there, back = np.float64((lattice.filter(x) * y).sum()), np.float64((lattice.adjoint(y) * x).sum())
    scale = np.linalg.norm(lattice.filter(x)) * np.linalg.norm(y)
    assert abs(there - back) <= 1e-5 * scale


def test_filter_is_linear_and_channels_do_not_mix() -> None:
    rng = RNG(3)
    lattice = Permutohedral(rng.randn(300, 5))
    values = rng.randn(300, 21).astype(np.float32)
    whole = lattice.filter(values)
    for k in (0, 7, 8, 20):
        np.testing.assert_allclose(lattice.filter(values[:, k : k + 1])[:, 0], whole[:, k], rtol=0, atol=1e-6)


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    rng = RNG(4)
    features, values = rng.randn(30000, 5) * 2, rng.rand(30000, 24).astype(np.float32)
    threads = numba.get_num_threads()
    results = []
    try:
        for count in {1, threads}:
            numba.set_num_threads(count)
            results.append(Permutohedral(features).filter(values))
    finally:
        numba.set_num_threads(threads)
    assert all(np.array_equal(results[0], other) for other in results)


def test_many_vertices() -> None:
    """Points so far apart that none shares a corner: every point is filtered alone."""
    rng = RNG(5)
    lattice = Permutohedral(rng.rand(20000, 4) * 3000)
    assert lattice.vertices > 99000
    kernel = Kernel(lattice)
    values = rng.rand(20000, 8).astype(np.float32)
    np.testing.assert_allclose(filtered(kernel, values), values, atol=1e-4)


@pytest.mark.parametrize("size", ((1, 1), (1, 7), (5, 1), (3, 2)))
def test_smallest_images(size: tuple[int, int]) -> None:
    features = spatial_features(*size, 3)
    values = RNG(6).rand(len(features), 8).astype(np.float32)
    assert np.abs(filtered(Kernel(Permutohedral(features)), values) - exact(features, values)).max() < 0.05


def test_features_are_x_then_y_then_colours() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    features = bilateral_features(image, 2, 10)
    assert features.shape == (12, 4) and features.dtype == np.float32
    np.testing.assert_allclose(features[6], [2 / 2, 1 / 2, 0.6, 1.8])  # column 2 of row 1


@pytest.mark.parametrize("value", (np.nan, np.inf, 1e6))
def test_features_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match="features must be finite and at most"):
        Permutohedral(np.full((2, 2), value))


@pytest.mark.parametrize("shape", ((3,), (3, 0)))
def test_features_of_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="features have shape"):
        Permutohedral(np.zeros(shape))


def test_bad_arguments() -> None:
    lattice = Permutohedral(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"values have shape \(3, C\), found \(4, 2\)"):
        lattice.filter(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="unknown normalization 'before'; known: after"):
        Kernel(lattice, "before")


def test_kernels_compiled_for_one_thread_are_right_on_two(tmp_path) -> None:
    """What one process compiles and keeps, another with more threads loads."""
    script = (
        "import numpy as np; from caffe_gp.crf import Permutohedral\n"
        "r = np.random.RandomState(0)\n"
        "lattice = Permutohedral(r.rand(30000, 2).astype(np.float32) * 9)\n"
        "print(lattice.filter(r.rand(30000, 8).astype(np.float32)).sum(dtype=np.float64))\n"
    )
    sums = []
    for threads in "12":
        environment = {**os.environ, "NUMBA_NUM_THREADS": threads, "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        sums.append(float(done.stdout))
    assert sums[0] > 0 and sums[1] == pytest.approx(sums[0], rel=1e-6)
