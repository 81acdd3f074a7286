"""Winograd's convolution of 7 x 7 kernels against PyTorch's in float64, and in nets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.caffe import blob as blob_module
from caffe_gp.caffe import fast
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast import kept, winograd_7
from caffe_gp.caffe.fast.windows import Window
from caffe_gp.caffe.fast.winograd_7_layer import Winograd7Layer

CASES = [  # images, channels, outputs, height, width, pad
    (2, 5, 7, 13, 9, (0, 0)),
    (1, 16, 24, 12, 12, (1, 3)),
    (1, 300, 70, 7, 8, (0, 0)),
    (1, 8, 8, 3, 1, (2, 3)),
    (2, 6, 5, 9, 4, (9, 10)),
    (1, 512, 2100, 22, 13, (0, 0)),
]
BOUND = 2e-6  # of the largest value; PyTorch's own error is up to 5e-7


def _images(*shape):
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n, c, k, h, w, pad", CASES)
def test_convolution_and_its_data_gradient(n, c, k, h, w, pad, threads):
    torch.set_num_threads(threads)
    x, weight, bias = _images(n, c, h, w), torch.randn(k, c, 7, 7), torch.randn(k)
    found = x.double().requires_grad_()
    expected = F.conv2d(found, weight.double(), bias.double(), padding=pad)
    kernels, out = winograd_7.transformed(weight), _images(*expected.shape)
    assert winograd_7.convolve(x, kernels, out, pad=pad, bias=bias)
    assert (out - expected).abs().max() <= BOUND * expected.abs().max()

    dy, dx = _images(*expected.shape), _images(n, c, h, w)
    expected.backward(dy.double())
    assert winograd_7.data_gradient(dy, kernels, dx, pad=pad)
    assert (dx - found.grad).abs().max() <= BOUND * found.grad.abs().max()

    assert winograd_7.convolve(x, kernels, out, pad=pad)
    products = (out.double() * dy).sum(), (dx.double() * x).sum()
    assert abs(products[0] - products[1]) <= 1e-5 * out.norm() * dy.norm()


@pytest.mark.parametrize("rows, columns, inference", [(8, 9, False), (16, 16, False), (8, 9, True)])
def test_an_image_gets_the_same_bits_alone_and_among_others(rows, columns, inference):
    """And with any number of threads, forward and backward."""
    with torch.inference_mode(inference):
        torch.set_num_threads(1)
        x, weight = _images(3, 260, rows + 6, columns + 6), torch.randn(2100, 260, 7, 7)
        kernels = winograd_7.transformed(weight)
        y, dy, dx = _images(3, 2100, rows, columns), _images(3, 2100, rows, columns), torch.empty_like(x)
        expected, gradient = torch.empty_like(y), torch.empty_like(x)
        winograd_7.convolve(x, kernels, expected, pad=(0, 0))
        winograd_7.data_gradient(dy, kernels, gradient, pad=(0, 0))
        torch.set_num_threads(3)
        assert torch.equal(winograd_7.transformed(weight), kernels)
        for threads, part in [(1, slice(0, 1)), (1, slice(2, 3)), (2, slice(1, 3)), (5, slice(0, 3))]:
            torch.set_num_threads(threads)
            assert winograd_7.convolve(x[part], kernels, y[part], pad=(0, 0))
            assert winograd_7.data_gradient(dy[part], kernels, dx[part], pad=(0, 0))
            assert torch.equal(y[part], expected[part]) and torch.equal(dx[part], gradient[part])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 3e38])
def test_what_is_not_finite_is_left_to_the_plain_path(value):
    x, kernels = _images(1, 8, 12, 12), winograd_7.transformed(torch.randn(8, 8, 7, 7))
    y = _images(1, 8, 6, 6)
    assert winograd_7.convolve(x, kernels, y, pad=(0, 0))
    for at in (5, 11):  # the last column is seen by the second half of the last tile only
        bad = x.clone()
        bad[0, 3, 4, at] = value
        assert not winograd_7.convolve(bad, kernels, y, pad=(0, 0))
    dy = _images(1, 8, 6, 6)
    dy[0, 3, 4, 5] = value
    assert not winograd_7.data_gradient(dy, kernels, x, pad=(0, 0))


SIZE, CHANNELS = 40, 256
TEXT = f"""input: "data" input_shape {{ dim: 1 dim: 3 dim: {SIZE} dim: {SIZE} }} force_backward: true
layer {{ name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param {{ num_output: {CHANNELS}
    kernel_size: 3 stride: 4 pad: 40 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "a" top: "a" }}
layer {{ name: "fc6" type: "Convolution" bottom: "a" top: "fc6" convolution_param {{ num_output: 600
    kernel_size: 7 weight_filler {{ type: "msra" }} bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }}
layer {{ name: "score" type: "Convolution" bottom: "fc6" top: "score" convolution_param {{ num_output: 5
    kernel_size: 1 weight_filler {{ type: "msra" }} }} }}
"""


def net_of():
    caffe.set_random_seed(0)
    return caffe.Net.from_param(proto.parse_net_param(TEXT), caffe.TEST)


def way_of(net):
    return net.layer_dict["fc6"]._way(net.blobs["a"], net.blobs["fc6"])


def put(net, images):
    net.blobs["data"].reshape(*images.shape)
    net.blobs["data"].copy_data(images)


def run(net, images):
    """Forward, and backward from fixed diffs: the score, and the image's diff."""
    put(net, images)
    net.forward()
    score = net.blobs["score"]
    score.copy_diff(np.random.RandomState(1).normal(size=score.shape))
    with net.only_diffs("data"):
        net.backward()
    return net.blobs["score"].data_tensor.clone().numpy(), net.blobs["data"].read_diff().copy()


@pytest.fixture
def images():
    return np.random.RandomState(0).uniform(-50, 50, (3, 1, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture
def few_are_compared(monkeypatch):
    """As many as fc6 has are too many."""
    for module in (kept, blob_module):
        monkeypatch.setattr(module, "MOST_COMPARED", 1 << 20)


def test_a_net_against_the_plain_path(images, monkeypatch):
    net = net_of()
    found = run(net, images[0])
    assert isinstance(way_of(net), Winograd7Layer) and net.blobs["fc6"].shape[2:] == (24, 24)
    monkeypatch.setenv(fast.VARIABLE, "0")
    plain = net_of()
    expected = run(plain, images[0])
    assert way_of(plain) is None
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_what_a_pass_leaves_out_has_the_bits_of_one_that_computes_everything(images):
    net = net_of()
    for image in images:
        score, diff = run(net, image)
        fresh = net_of()
        np.testing.assert_array_equal(score, run(fresh, image)[0])
        with_all = fresh.blobs["data"]
        fresh.backward()
        np.testing.assert_array_equal(diff, with_all.read_diff())


def test_a_window_is_of_whole_tiles():
    net = net_of()
    way, top = way_of(net), net.blobs["fc6"]
    assert way.whole(Window(3, 5, 3, 5), top) == (3, 5, 2, 6)
    top.reshape(1, 600, 24, 23)
    assert way.whole(Window(0, 24, 1, 23), top) == (0, 24, 0, 23)


def test_results_that_are_not_finite(images):
    net = net_of()
    run(net, images[0])
    bad = images[1].copy()
    bad[0, 0, 4, 4] = np.inf  # where a kernel of 'a' begins
    put(net, bad)
    net.forward()
    assert not np.isfinite(net.blobs["fc6"].read_data()).all()
    np.testing.assert_array_equal(run(net, images[2])[0], run(net_of(), images[2])[0])


def test_nets_with_the_same_weights_share_their_transforms(images):
    net, other = net_of(), net_of()
    other.share_with(net)
    for one in (net, other):
        run(one, images[0])
    assert way_of(net)._kernels() is way_of(other)._kernels()


@pytest.mark.parametrize("compared", [True, False])
def test_changes_of_the_weights_are_noticed(images, compared, request):
    """Through a view, too: compared with a copy, or, where they are too many, not transformed at all."""
    if not compared:
        request.getfixturevalue("few_are_compared")
    net, fresh = net_of(), net_of()
    before = run(net, images[0])[0]
    net.params["fc6"][0].data_tensor.mul_(2)
    fresh.params["fc6"][0].data_tensor.mul_(2)
    doubled = run(net, images[0])[0]
    np.testing.assert_array_equal(doubled, run(fresh, images[0])[0])
    assert not np.array_equal(before, doubled)
    view = net.params["fc6"][0].data
    assert isinstance(way_of(net), Winograd7Layer) == compared
    for _ in range(2):
        view[:, 5] *= 3
        fresh.params["fc6"][0].data_tensor[:, 5] *= 3
        for a, b in zip(run(net, images[0]), run(fresh, images[0])):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_a_view_lets_go_what_is_kept_of_many_values(few_are_compared):
    blob = Blob((2 << 20,))
    blob.kept(torch.sum)
    assert blob.can_keep and blob._data._kept
    blob.write_data(lambda values: None)
    assert blob.can_keep and blob._data._kept
    assert blob.data is not None
    assert not blob.can_keep and not blob._data._kept


def test_the_rule_looks_at_one_image_and_the_memory_is_counted():
    net = net_of()
    layer, bottom, top = net.layer_dict["fc6"], net.blobs["a"], net.blobs["fc6"]
    assert layer.kept([bottom], [top]) == CHANNELS * 600 * 63
    assert layer.workspace([bottom], [top]) < CHANNELS * 49 * 24 * 24
    net.blobs["data"].reshape(5, 3, SIZE, SIZE)
    net.reshape()
    assert isinstance(way_of(net), Winograd7Layer)


@pytest.mark.parametrize(
    "rows, width, pays",
    [(8, 8, True), (16, 3, True), (32, 2, True), (7, 8, False), (40, 1, False), (24, 25, False)],
)
def test_it_pays_with_tiles_enough_and_fewer_places_than_outputs(rows, width, pays):
    way, bottom, top = way_of(net_of()), Blob((1, CHANNELS, rows + 6, width + 6)), Blob((1, 600, rows, width))
    assert way.pays(bottom, top) == pays


@pytest.mark.parametrize("change", ["stride: 2", "dilation: 2", "group: 2", "num_output: 200"])
def test_other_convolutions_go_other_ways(change):
    text = TEXT.replace("num_output: 600", change if "num" in change else f"num_output: 600 {change}")
    net = caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST)
    assert not isinstance(way_of(net), Winograd7Layer)


def test_weights_that_learn_are_not_transformed():
    net = caffe.Net.from_param(proto.parse_net_param(TEXT), caffe.TRAIN)
    assert not isinstance(way_of(net), Winograd7Layer)
