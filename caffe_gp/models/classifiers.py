"""Nets that label whole images: LeNet for MNIST's digits and a small CNN for CIFAR-10.

Nobody released the paper's weights of either: ``training.classifier`` trains both.
"""

from __future__ import annotations

from typing import Any, Callable

from caffe_gp.models.builder import Builder

# As in Caffe's example: biases learn twice as fast, and decay like everything else.
_PARAM = ({"lr_mult": 1.0}, {"lr_mult": 2.0})
_XAVIER: dict = {"weight_filler": {"type": "xavier"}, "bias_filler": {"type": "constant"}}
_MSRA: dict = {"weight_filler": {"type": "msra"}, "bias_filler": {"type": "constant"}}

# Ours: the mean of CIFAR-10's training images; blue, green, red.
CIFAR10_MEAN = (113.865, 122.950, 125.307)


def lenet() -> Any:
    """LeNet as Caffe's MNIST example has it: 20 and 50 convolutions of 5x5 without ReLU, 500, 10.

    Grey images of 28 x 28, pixel / 256. Class scores in ``ip2``.
    """
    return _deployed("lenet", (1, 1, 28, 28), lenet_body)


def cifar10() -> Any:
    """The paper's CIFAR-10 net, "64-64-128-128-128-128-10", five convolutions and two fully connected layers.

    The paper says no more. The rest is chosen here, as plain as was usual and early small, so that one core
    trains it in minutes: 3x3 convolutions that keep the size, ReLU after every layer but the last, max
    pooling by 2 after the first, second, fourth and fifth convolution (32 -> 16 -> 8 -> 4 -> 2), no
    normalisation. Colour images of 32 x 32, (grey level - mean) / 256. Class scores in ``ip2``.
    """
    return _deployed("cifar10", (1, 3, 32, 32), cifar10_body)


def lenet_body(net: Builder, training: bool) -> str:
    """Add the layers from ``data`` to the scores, the same for ``training``; returns the scores' blob."""
    blob = net.conv("conv1", "data", 20, 5, param=_PARAM, **_XAVIER)
    blob = net.max_pool("pool1", blob, 2, 2)
    blob = net.conv("conv2", blob, 50, 5, param=_PARAM, **_XAVIER)
    blob = net.max_pool("pool2", blob, 2, 2)
    blob = net.relu("relu1", net.inner_product("ip1", blob, 500, param=_PARAM, **_XAVIER))
    return net.inner_product("ip2", blob, 10, param=_PARAM, **_XAVIER)


def cifar10_body(net: Builder, training: bool) -> str:
    """Add the layers from ``data`` to the scores, with dropout for ``training``; returns the scores' blob."""
    blob = "data"
    pools = 0
    for i, channels in enumerate((64, 64, 128, 128, 128), 1):
        blob = net.conv_relu(f"conv{i}", blob, channels, 3, f"relu{i}", pad=1, param=_PARAM, **_MSRA)
        if i != 3:
            pools += 1
            blob = net.max_pool(f"pool{pools}", blob, 2, 2)
    blob = net.relu("relu6", net.inner_product("ip1", blob, 128, param=_PARAM, **_MSRA))
    if training:
        net.dropout("drop6", blob)
    return net.inner_product("ip2", blob, 10, param=_PARAM, **_MSRA)


def _deployed(name: str, input_shape: tuple[int, ...], body: Callable[..., str]) -> Any:
    net = Builder(name, input_shape)
    net.add("Softmax", "prob", [body(net, training=False)])
    return net.param
