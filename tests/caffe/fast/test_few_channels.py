"""Convolutions of images of a few channels against PyTorch's in float64, and in parts against whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.caffe.fast import few_channels, few_channels_layer
from caffe_gp.caffe.fast.few_channels_layer import FewChannels
from caffe_gp.caffe.fast.windows import Window

CASES = [  # images, channels, outputs, height, width, kernel, pad, stride, dilation
    (2, 3, 64, 13, 9, (3, 3), (1, 1), (1, 1), (1, 1)),
    (1, 1, 70, 30, 31, (3, 3), (0, 0), (1, 1), (1, 1)),
    (1, 4, 64, 20, 18, (3, 5), (6, 2), (1, 1), (1, 1)),
    (3, 2, 64, 12, 12, (5, 3), (0, 3), (1, 1), (1, 1)),
    (2, 3, 33, 3, 40, (3, 7), (20, 9), (1, 1), (1, 1)),
    (2, 3, 16, 23, 31, (7, 7), (3, 3), (2, 3), (1, 1)),
    (1, 3, 16, 23, 31, (3, 3), (2, 4), (1, 2), (2, 3)),
    (1, 1, 1, 1, 2, (1, 2), (0, 0), (1, 1), (1, 1)),
]


@pytest.fixture(autouse=True)
def small_bands(monkeypatch):
    """Every size goes this way, in bands of a few rows."""
    monkeypatch.setattr(few_channels_layer, "LEAST_OUTPUTS", 1)
    monkeypatch.setattr(few_channels_layer, "LEAST_SUMMED", 1)
    monkeypatch.setattr(few_channels_layer, "_BAND", 1 << 13)


def net_of(case, relu=True):
    _, channels, outputs, height, width, kernel, pad, stride, dilation = case
    text = f"""
        layer {{ name: "input" type: "Input" top: "data" input_param {{ shape {{
            dim: 1 dim: {channels} dim: {height} dim: {width} }} }} }}
        layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{
            num_output: {outputs} kernel_h: {kernel[0]} kernel_w: {kernel[1]} pad_h: {pad[0]} pad_w: {pad[1]}
            stride_h: {stride[0]} stride_w: {stride[1]} dilation: {dilation[0]} dilation: {dilation[1]}
            weight_filler {{ type: "msra" }} bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
        force_backward: true
    """
    text += 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }' if relu else ""
    text += 'layer { name: "out" type: "Power" bottom: "conv" top: "out" }'  # outputs are handed out as views
    caffe.set_random_seed(0)
    return caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST)


def expected(net, case, images):
    *_, pad, stride, dilation = case
    weight, bias = (blob.data_tensor.double() for blob in net.params["conv"])
    return F.conv2d(images, weight, bias, stride, pad, dilation)


def passes(net, images, dy):
    """The convolution's outputs, and the images' diff, from the one of the net's."""
    net.blobs["data"].reshape(*images.shape)
    net.blobs["data"].data_tensor = images
    with net.only_diffs("data"):
        net.forward()
        net.blobs["out"].diff_tensor = dy
        net.backward()
    return net.blobs["conv"].read_data().copy(), net.blobs["data"].read_diff().copy()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_convolution_and_its_data_gradient(case, threads):
    torch.set_num_threads(threads)
    net, images = net_of(case, relu=False), torch.randn(case[0], case[1], *case[3:5])
    wanted = images.double().requires_grad_()
    outputs = expected(net, case, wanted)
    dy = torch.randn(outputs.shape)
    outputs.backward(dy.double())
    y, dx = passes(net, images, dy)
    way = net.layer_dict["conv"]._way(net.blobs["data"], net.blobs["conv"])
    assert isinstance(way, FewChannels)
    assert np.abs(y - outputs.detach().numpy()).max() <= 2e-6 * np.abs(y).max()
    assert np.abs(dx - wanted.grad.numpy()).max() <= 2e-6 * np.abs(dx).max()


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("case", CASES)
def test_a_relu_in_place_is_part_of_it(case, value):
    net, images = net_of(case), torch.randn(case[0], case[1], *case[3:5])
    images[0, 0, 0, 0] = value
    outputs = expected(net, case, images.double()).relu().numpy()
    y, _ = passes(net, images, torch.zeros(outputs.shape))
    np.testing.assert_allclose(y, outputs, rtol=1e-5, atol=1e-5)


def test_a_window_of_the_gradient_only_is_written():
    dy, weight = torch.randn(2, 8, 13, 12), torch.randn(8, 3, 3, 3)
    dy = dy.contiguous(memory_format=torch.channels_last)
    whole, part = (
        torch.full((2, 3, 13, 12), 7.0).contiguous(memory_format=torch.channels_last) for _ in "12"
    )
    weights, window = few_channels.flipped(weight), Window(2, 12, 1, 5)
    few_channels.data_gradient(dy, weights, whole, (1, 1), None)
    few_channels.data_gradient(dy, weights, part, (1, 1), window)
    assert torch.equal(window.of(part), window.of(whole))
    window.of(part)[...] = 7
    assert bool((part == 7).all())


def test_a_window_has_the_bits_of_the_whole():
    """With a pad of 30 the second image changes the middle of the outputs only."""
    case = (1, 3, 64, 21, 26, (3, 3), (30, 40), (1, 1), (1, 1))
    net, images, dy = net_of(case), torch.randn(2, 1, 3, 21, 26), torch.zeros(1, 64, 79, 104)
    for image in images:
        passes(net, image, dy)
    assert net.layer_dict["conv"].window == (28, 51, 38, 66)
    fresh, _ = passes(net_of(case), images[1], dy)
    np.testing.assert_array_equal(net.blobs["conv"].read_data(), fresh)


def test_the_same_image_again_is_not_convolved(monkeypatch):
    case = (1, 3, 64, 21, 26, (3, 3), (30, 40), (1, 1), (1, 1))
    net, image, dy = net_of(case), torch.randn(1, 3, 21, 26), torch.zeros(1, 64, 79, 104)
    first, _ = passes(net, image, dy)
    passes(net, image, dy)
    monkeypatch.delattr(few_channels_layer.F, "conv2d")
    with net.only_diffs("data"):
        net.forward()
    np.testing.assert_array_equal(net.blobs["conv"].read_data(), first)


def test_an_image_gets_the_same_bits_alone_and_among_others():
    case = (3, 3, 64, 21, 26, (3, 3), (1, 1), (1, 1), (1, 1))
    net, images, dy = net_of(case), torch.randn(3, 3, 21, 26), torch.randn(3, 64, 21, 26)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        together = passes(net, images, dy)
        for n in range(3):
            for whole, alone in zip(together, passes(net, images[n : n + 1], dy[n : n + 1])):
                np.testing.assert_array_equal(whole[n : n + 1], alone)
