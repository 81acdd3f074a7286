"""Winograd's convolution against PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from caffe_gp.caffe.fast import winograd
from caffe_gp.caffe.fast.windows import Window
from caffe_gp.caffe.fast.winograd import TILE_3, TILE_4

CASES = [  # images, channels, outputs, height, width, pad, dilation
    (2, 5, 7, 13, 9, (1, 1), (1, 1)),
    (1, 64, 70, 30, 31, (0, 0), (1, 1)),
    (1, 130, 65, 40, 30, (2, 2), (2, 2)),
    (2, 16, 16, 17, 18, (4, 3), (4, 3)),
    (1, 8, 8, 20, 21, (30, 5), (3, 1)),
    (3, 1, 1, 3, 3, (0, 0), (1, 1)),
    (1, 512, 64, 11, 12, (1, 1), (1, 1)),
    (1, 64, 64, 33, 34, (12, 12), (12, 12)),
]


TILES = pytest.mark.parametrize("tile", [TILE_4, TILE_3], ids=["tiles of 4", "tiles of 3"])


def _images(*shape):
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


@TILES
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n, c, k, h, w, pad, dilation", CASES)
def test_convolution_and_its_data_gradient(n, c, k, h, w, pad, dilation, threads, tile):
    torch.set_num_threads(threads)
    x, weight, bias = _images(n, c, h, w), torch.randn(k, c, 3, 3), torch.randn(k)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=pad, dilation=dilation)
    kernels, out = tile.transformed(weight), _images(*expected.shape)
    assert winograd.convolve(x, kernels, out, tile, pad=pad, dilation=dilation, bias=bias)
    assert (out - expected).abs().max() <= 4e-6 * expected.abs().max()
    rectified = _images(*expected.shape)
    assert winograd.convolve(x, kernels, rectified, tile, pad=pad, dilation=dilation, bias=bias, rectify=True)
    assert torch.equal(rectified, out.relu())

    dy, dx = _images(*expected.shape), _images(n, c, h, w)
    found = x.double().requires_grad_()
    F.conv2d(found, weight.double(), None, 1, pad, dilation).backward(dy.double())
    assert winograd.data_gradient(dy, kernels, dx, tile, pad=pad, dilation=dilation)
    assert (dx - found.grad).abs().max() <= 4e-6 * found.grad.abs().max()


@TILES
@pytest.mark.parametrize("window", [Window(2, 9, 1, 14), Window(0, 20, 0, 21), Window(19, 20, 20, 21)])
def test_of_a_window_only_that_is_written(window, tile):
    x, kernels = _images(2, 8, 20, 21), tile.transformed(torch.randn(8, 8, 3, 3))
    whole, part = _images(2, 8, 20, 21), torch.full((2, 8, 20, 21), 7.0)
    part = part.contiguous(memory_format=torch.channels_last)
    winograd.convolve(x, kernels, whole, tile, pad=(1, 1), dilation=(1, 1))
    winograd.convolve(x, kernels, part, tile, pad=(1, 1), dilation=(1, 1), window=window)
    inside = (slice(None), slice(None), slice(*window[:2]), slice(*window[2:]))
    assert torch.equal(part[inside], whole[inside])
    part[inside] = 7
    assert bool((part == 7).all())


@TILES
def test_an_image_gets_the_same_bits_alone_and_among_others(tile):
    """Also where its last block of tiles is a single one, and with any number of threads."""
    for size in (21, 28, 40, 77):  # 36, 49, 100 and 400 tiles; blocks are of 96
        x, kernels = _images(3, 64, size, size), tile.transformed(torch.randn(64, 64, 3, 3))
        together, alone = _images(3, 64, size, size), _images(1, 64, size, size)
        for threads in (1, 3):
            torch.set_num_threads(threads)
            winograd.convolve(x, kernels, together, tile, pad=(1, 1), dilation=(1, 1))
            for n in range(3):
                winograd.convolve(x[n : n + 1], kernels, alone, tile, pad=(1, 1), dilation=(1, 1))
                assert torch.equal(together[n : n + 1], alone)


@TILES
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 3e38])
def test_what_is_not_finite_is_left_to_the_plain_path(value, tile):
    x, kernels = _images(1, 8, 9, 9), tile.transformed(torch.randn(8, 8, 3, 3))
    out = _images(1, 8, 9, 9)
    assert winograd.convolve(x, kernels, out, tile, pad=(1, 1), dilation=(1, 1), rectify=True)
    x[0, 3, 4, 4] = value
    assert not winograd.convolve(x, kernels, out, tile, pad=(1, 1), dilation=(1, 1), rectify=True)


@pytest.mark.parametrize(
    "size, dilation, tile",
    [
        ((65, 65), (1, 1), TILE_4),
        ((65, 65), (6, 6), TILE_4),
        ((65, 65), (12, 12), TILE_3),
        ((65, 65), (18, 18), TILE_4),
        ((65, 65), (24, 24), TILE_3),
        ((41, 41), (12, 12), TILE_4),
        ((18, 18), (1, 1), TILE_3),
        ((5, 200), (1, 1), TILE_3),
    ],
)
def test_the_tile_that_takes_the_fewest_products_is_taken(size, dilation, tile):
    """DeepLab's dilations, on images of 65 x 65 and of 41 x 41."""
    assert winograd.tile_for(size, dilation) is tile
