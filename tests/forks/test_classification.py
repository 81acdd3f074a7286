"""The layers of classification and segmentation forks beside OpenCV 4, and nets of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_gp import proto
from conformance.forks import nets
from tests.forks.harness import OpenCVError, agrees, both, close, net_of

RNG = np.random.RandomState(0)


@pytest.mark.parametrize("group", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("shape", [(1, 12, 1, 1), (2, 12, 5, 7)])
def test_shuffle_channel(opencv, group, shape):
    agrees(opencv, f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}', RNG.randn(*shape))


def test_relu6(opencv):
    x = np.concatenate([RNG.uniform(-9, 15, 200), [0, 6, -0.0]]).reshape(1, 7, 29, 1)
    agrees(opencv, 'type: "ReLU6"', x)


def test_mish(opencv):
    x = np.concatenate([RNG.randn(200) * 5, [0, 30, -30, 88, -88, 1e4]]).reshape(1, 2, 103, 1)
    agrees(opencv, 'type: "Mish"', x, tolerance=1e-6)
    agrees(opencv, 'type: "Mish"', x.clip(-20, 20), tolerance=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        "zoom_factor: 2",
        "zoom_factor: 8",
        "height: 9 width: 13",
        "height: 3 width: 4",
        "height: 1 width: 1",
    ],
)
def test_interp(opencv, fields):
    """OpenCV knows no shrink_factor."""
    agrees(opencv, f'type: "Interp" interp_param {{ {fields} }}', RNG.randn(2, 3, 7, 6), tolerance=1e-6)


@pytest.mark.parametrize("factors", [(1, 3), (1, 3, 1, 1)])
def test_axpy_but_for_the_order_of_its_bottoms(opencv, factors):
    """OpenCV computes bottom 0 times bottom 2, plus bottom 1, where SENet has 1 and 2 the other way; and of
    one image alone."""
    a, x, y = RNG.randn(*factors), RNG.randn(1, 3, 4, 5), RNG.randn(1, 3, 4, 5)
    inputs = {"x0": a, "x1": x, "x2": y}
    text = net_of('type: "Axpy"', [a.shape, x.shape, y.shape])
    [(ours, _)] = both(opencv, text, inputs, ["layer"])["layer"]
    swapped = text.replace('bottom: "x1" bottom: "x2"', 'bottom: "x2" bottom: "x1"')
    [theirs] = opencv.forward(swapped, inputs, ["layer"])["layer"]
    close(ours, theirs, 1e-6)
    close(ours, a.reshape(1, 3, 1, 1) * x + y, 1e-6)


def test_depthwise_convolutions(opencv):
    """OpenCV reads one of the names alone, and needs the group."""
    text = 'type: "ConvolutionDepthwise" convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 '
    params = RNG.randn(4, 1, 3, 3), RNG.randn(4)
    x = RNG.randn(2, 4, 7, 8)
    agrees(opencv, text + "group: 4 }", x, params=params, tolerance=1e-6)
    with pytest.raises(OpenCVError):
        other = text.replace("ConvolutionDepthwise", "DepthwiseConvolution")
        agrees(opencv, other + "group: 4 }", x, params=params)


# ---- whole nets


@pytest.mark.parametrize("name", ["ShuffleNet 1x g3", "SE-ResNet-50", "ICNet, Cityscapes"])
def test_nets(opencv, shared_data, name, tmp_path):
    """The embedded Caffe's weights, random ones, go to OpenCV in a caffemodel."""
    net = nets.NETS[name]
    images = net.images(shared_data)[:1]
    path = Path(shared_data, net.prototxt)
    loaded = nets.load(net, "torch", shared_data, images)
    weights = tmp_path / "net.caffemodel"
    loaded.net.save(str(weights))
    description = proto.read_net_param(path)
    for layer in description.layer:
        if layer.type == "ConvolutionDepthwise":  # OpenCV takes the group from the file alone
            layer.convolution_param.group = layer.convolution_param.num_output
        if layer.interp_param.HasField("shrink_factor"):  # and this from nowhere
            layer.interp_param.Clear()
            size = loaded.net.blobs[layer.top[0]].shape[2:]
            layer.interp_param.height, layer.interp_param.width = size
    text = proto.to_text(description)
    [(ours, _)] = both(opencv, text, {"data": images}, [net.score], caffemodel=weights)[net.score]
    for layer in description.layer:
        if layer.type == "Axpy":  # as above
            layer.bottom[1], layer.bottom[2] = layer.bottom[2], layer.bottom[1]
    inputs = {"data": images}
    [theirs] = opencv.forward(proto.to_text(description), inputs, [net.score], weights)[net.score]
    close(ours, theirs, 2e-5)
