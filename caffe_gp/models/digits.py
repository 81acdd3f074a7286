"""The digits net: an FCN in miniature for the digit scenes, with the layer names of FCN's VGG nets.

Four stages of two 3x3 convolutions and a max pooling, ``fc6`` and ``fc7`` as convolutions, ``score_fr`` at
stride 16, ``upscore2`` and the skip ``score_pool3`` at stride 8, ``upscore8`` and a crop back to the image:
the paper's FCN-16s with its skip one stage lower, 341 thousand parameters. ``training.digits`` trains it.
"""

from __future__ import annotations

from typing import Any

from caffe_gp.datasets.class_names import DIGIT_SCENES
from caffe_gp.models import batchnorm
from caffe_gp.models.builder import Builder

NAME = "digits"
CLASSES = len(DIGIT_SCENES)
CHANNELS = (16, 32, 64, 96)
FC = 128
MEAN = (104.0, 117.0, 123.0)  # blue, green, red grey levels: ImageNet's, rounded

# Convolutions that are followed by batch normalisation in the training net.
NORMALISED = tuple(f"conv{stage}_{i}" for stage in (1, 2, 3, 4) for i in (1, 2)) + ("fc6", "fc7")


def digits() -> Any:
    """The net as it is used, a NetParameter: images of any size in ``data``, class scores in ``score``."""
    net = Builder(NAME, (1, 3, 96, 96))
    body(net, training=False)
    return net.param


def body(net: Builder, training: bool) -> None:
    """Add the layers from ``data`` to ``score``, with batch normalisation and dropout for ``training``."""
    blob = "data"
    for stage, channels in enumerate(CHANNELS, 1):
        for i in (1, 2):
            name, relu = f"conv{stage}_{i}", f"relu{stage}_{i}"
            blob = batchnorm.conv_relu(net, name, blob, channels, 3, training=training, relu=relu)
        blob = net.max_pool(f"pool{stage}", blob, 2, 2)
    for number, kernel in ((6, 3), (7, 1)):
        name, relu = f"fc{number}", f"relu{number}"
        blob = batchnorm.conv_relu(net, name, blob, FC, kernel, training=training, relu=relu)
        if training:
            net.dropout(f"drop{number}", blob, 0.2)
    scores = net.conv("score_fr", blob, CLASSES, 1, param=(), weight_filler={"type": "gaussian", "std": 0.01})
    up = _up(net, "upscore2", scores, kernel=4, stride=2)
    # The skip starts at zero (Caffe's default filler), as in FCN.
    skip = net.conv("score_pool3", "pool3", CLASSES, 1, param=())
    # upscore2 is 2 n + 2 wide and starts one pixel early, as pool3's grid sees it.
    fused = net.eltwise("fuse_pool3", [net.crop("upscore2c", up, skip, offset=1), skip])
    net.crop("score", _up(net, "upscore8", fused, kernel=16, stride=8), "data", offset=4)


def _up(net: Builder, name: str, bottom: str, kernel: int, stride: int) -> str:
    """Bilinear upsampling: a fixed Deconvolution. One group a class, or the filler would mix the classes."""
    filler = {"type": "bilinear"}
    return net.deconv(name, bottom, CLASSES, kernel, stride=stride, group=CLASSES, weight_filler=filler)
