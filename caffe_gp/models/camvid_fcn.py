"""A fully convolutional net for CamVid's 11 classes: small enough to be trained on a CPU within the hour.

A strided convolution, three stages of 3x3 convolutions and 2x2 max pooling down to stride 16, dilation in the
last, and the way back up with skips: at strides 8, 4 and 2 a learned x2 Deconvolution and a 1x1 convolution
of the skip are added and joined by a 3x3 convolution. The class scores of stride 2 are upsampled bilinearly.
1.4 million parameters; all layers are BVLC Caffe's.

It is trained with batch normalisation, which is folded away, on random crops with a cross-entropy balanced by
median frequency: InfogainLoss with a diagonal matrix, Caffe's weighted cross-entropy.
``write_prototxts`` writes train.prototxt, deploy.prototxt and solver.prototxt.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp.datasets.class_names import CAMVID
from caffe_gp.models import batchnorm, training_files
from caffe_gp.models.builder import Builder

NAME = "camvid_fcn"
CLASSES = len(CAMVID)
MEAN = (104.0, 117.0, 123.0)  # blue, green, red grey levels: ImageNet's, rounded
INPUT_SHAPE = (1, 3, 360, 480)

STEM = 32
# Channels of the stages at strides 4, 8 and 16, and the dilations of their convolutions.
STAGES = ((64, (1, 1)), (96, (1, 1, 1)), (160, (1, 1, 2, 4)))
# On the way up: stride, skip, channels.
UP = ((8, "conv3_3", 64), (4, "conv2_2", 32), (2, "conv1", 16))

BATCH = 4
CROP = 240
SCALES = (0.75, 1.35)
STEPS = 5000
# Exponent of the median-frequency weights. Whole, they make the rare classes spread; without, they vanish.
BALANCE = 0.5

# Convolutions that are followed by batch normalisation in the training net.
NORMALISED = (
    "conv1",
    *(f"conv{number}_{i}" for number, (_, parts) in enumerate(STAGES, 2) for i in range(1, len(parts) + 1)),
    *(f"join{stride}" for stride, _, _ in UP),
)


def deploy_net() -> Any:
    """The net as it is used, a NetParameter: images of any size in ``data``, class scores in ``score``."""
    net = Builder(NAME, INPUT_SHAPE)
    _body(net, training=False)
    return net.param


def train_net(batch: int = BATCH, crop: int = CROP, seed: int = 0, balance: float = BALANCE) -> Any:
    """The net as it is trained: random crops, batch normalisation, balanced cross-entropy.

    balance   exponent of the median-frequency weights; 0 weighs every pixel alike
    """
    net = Builder(f"{NAME}_train", None)
    options = {
        "data": "camvid-train",
        "seed": seed,
        "batch": batch,
        "size": [crop, crop],
        "scales": SCALES,
        "mean": MEAN,
        "label_stride": 2,
        "balance": balance,
    }
    layer = {
        "module": "caffe_gp.python_layers.crops",
        "layer": "CropsLayer",
        "param_str": json.dumps(options),
    }
    net.add("Python", "data", [], ["data", "label", "balance"], python_param=layer)
    _body(net, training=True)
    # The last step up is fixed: the loss at half the size says as much in a quarter of the time.
    net.add("InfogainLoss", "loss", ["score_half", "label", "balance"], loss_param={"ignore_label": 255})
    return net.param


def solver() -> Any:
    """The recipe, a SolverParameter; its paths are from the project's root."""
    return training_files.adam(NAME, base_lr=0.001, max_iter=STEPS, snapshot=500)


def write_prototxts(folder: str | Path = f"prototxt/{NAME}") -> list[Path]:
    """Write train.prototxt, deploy.prototxt and solver.prototxt into ``folder``; the three paths."""
    return training_files.write(folder, train=train_net(), deploy=deploy_net(), solver=solver())


def fold(params: Mapping[str, Sequence[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Weights of the deployed net from those of the training net: ``batchnorm.fold``, and the bilinear
    upsampling that the training does without."""
    profile = np.array([0.25, 0.75, 0.75, 0.25])
    upscore = np.tile(np.outer(profile, profile), (CLASSES, 1, 1, 1))
    return batchnorm.fold(deploy_net(), {**params, "upscore": [upscore]}, NORMALISED)


def _body(net: Builder, training: bool) -> None:
    """From ``data`` to ``score``."""

    def conv(name: str, bottom: str, channels: int, kernel: int = 3, **shape: int) -> str:
        relu = f"relu_{name}"
        return batchnorm.conv_relu(net, name, bottom, channels, kernel, training=training, relu=relu, **shape)

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
