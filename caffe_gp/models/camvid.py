"""A fully convolutional net for CamVid's 11 classes: small enough to be trained on a CPU within the hour.

A strided convolution, three stages of 3x3 convolutions and 2x2 max pooling down to stride 16, dilation in the
last, and the way back up with skips: at strides 8, 4 and 2 a learned x2 Deconvolution and a 1x1 convolution
of the skip are added and joined by a 3x3 convolution. The class scores of stride 2 are upsampled bilinearly.
1.4 million parameters; all layers are BVLC Caffe's. ``training.camvid`` trains it.
"""

from __future__ import annotations

from typing import Any

from caffe_gp.datasets.class_names import CAMVID
from caffe_gp.models import batchnorm
from caffe_gp.models.builder import Builder

NAME, NAME_BN = "camvid", "camvid-bn"
CLASSES = len(CAMVID)
MEAN = (104.0, 117.0, 123.0)  # blue, green, red grey levels: ImageNet's, rounded

STEM = 32
# Channels of the stages at strides 4, 8 and 16, and the dilations of their convolutions.
STAGES = ((64, (1, 1)), (96, (1, 1, 1)), (160, (1, 1, 2, 4)))
# On the way up: stride, skip, channels.
UP = ((8, "conv3_3", 64), (4, "conv2_2", 32), (2, "conv1", 16))

# Convolutions that are followed by batch normalisation in the training net.
NORMALISED = (
    "conv1",
    *(f"conv{number}_{i}" for number, (_, parts) in enumerate(STAGES, 2) for i in range(1, len(parts) + 1)),
    *(f"join{stride}" for stride, _, _ in UP),
)


def camvid() -> Any:
    """The net as it is used, a NetParameter: images of any size in ``data``, class scores in ``score``."""
    net = Builder(NAME, (1, 3, 360, 480))
    body(net, training=False)
    return net.param


def camvid_bn() -> Any:
    """The same with its batch normalisation kept: ``training.camvid_bn`` makes its weights."""
    net = Builder(NAME_BN, (1, 3, 360, 480))
    body(net, training=False, normalised=True)
    return net.param


def body(net: Builder, training: bool, normalised: bool = False) -> None:
    """Add the layers from ``data`` to ``score``; for ``training`` to ``score_half``, with normalisation.

    normalised   the normalisation in the net as it is used, too
    """

    def conv(
        name: str, bottom: str, channels: int, kernel: int = 3, stride: int = 1, dilation: int = 1
    ) -> str:
        return batchnorm.conv_relu(
            net,
            name,
            bottom,
            channels,
            kernel,
            training=training,
            normalised=normalised,
            relu=f"relu_{name}",
            stride=stride,
            dilation=dilation,
        )

    blob = conv("conv1", "data", STEM, kernel=6, stride=2)
    for number, (channels, dilations) in enumerate(STAGES, 1):
        blob = net.max_pool(f"pool{number}", blob, 2, 2)
        for i, dilation in enumerate(dilations, 1):
            blob = conv(f"conv{number + 1}_{i}", blob, channels, dilation=dilation)

    filler: Any = {"weight_filler": {"type": "msra"}} if training else {}
    for stride, skip, channels in UP:
        up = net.deconv(f"up{stride}", blob, channels, 4, stride=2, param=(), **filler)
        side = net.conv(f"skip{stride}", skip, channels, 1, param=(), **filler)
        # A x2 Deconvolution of kernel 4 is 2 n + 2 wide and starts one pixel early.
        fused = net.eltwise(f"fuse{stride}", [net.crop(f"up{stride}c", up, side, offset=1), side])
        blob = conv(f"join{stride}", fused, channels)

    small: Any = {"weight_filler": {"type": "gaussian", "std": 0.01}}
    scores = net.conv("score_half", blob, CLASSES, 1, param=(), **small)
    if training:
        return
    # One group a class, or the filler would mix the classes.
    kernel: Any = {"group": CLASSES, "weight_filler": {"type": "bilinear"}}
    net.crop("score", net.deconv("upscore", scores, CLASSES, 4, stride=2, **kernel), "data", offset=1)
