"""The demo's net: an FCN in miniature for the digit scenes, with the layer names of FCN's VGG nets.

Four stages of two 3x3 convolutions and a max pooling, ``fc6`` and ``fc7`` as convolutions, ``score_fr`` at
stride 16, ``upscore2`` and the skip ``score_pool3`` at stride 8, ``upscore8`` and a crop back to the image:
the paper's FCN-16s with its skip one stage lower, 341 thousand parameters.

It is trained with batch normalisation (BatchNorm + Scale after each convolution); ``fold`` puts the learned
statistics into the convolutions, so the deployed net is plain convolutions as the paper's nets are.
``write_prototxts`` writes train.prototxt, deploy.prototxt and solver.prototxt.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp.models import batchnorm, training_files
from caffe_gp.models.builder import Builder

CLASSES = 11
CHANNELS = (16, 32, 64, 96)
FC = 128
MEAN = (104.0, 117.0, 123.0)  # blue, green, red grey levels: ImageNet's, rounded
INPUT_SHAPE = (1, 3, 96, 96)

BATCH = 10
STEPS = 2600

# Convolutions that are followed by batch normalisation in the training net.
NORMALISED = tuple(f"conv{stage}_{i}" for stage in (1, 2, 3, 4) for i in (1, 2)) + ("fc6", "fc7")


def deploy_net() -> Any:
    """The net as it is used, a NetParameter: images of any size in ``data``, class scores in ``score``."""
    net = Builder("digit_fcn", INPUT_SHAPE)
    _body(net, training=False)
    return net.param


def train_net(batch: int = BATCH, seed: int = 0) -> Any:
    """The net as it is trained: a Python data layer, batch normalisation, dropout, SoftmaxWithLoss."""
    net = Builder("digit_fcn_train", None)
    options = {"split": "train", "seed": seed, "batch": batch, "mean": MEAN}
    layer = {
        "module": "caffe_gp.python_layers.digit_scenes",
        "layer": "DigitScenesLayer",
        "param_str": json.dumps(options),
    }
    net.add("Python", "data", [], ["data", "label"], python_param=layer)
    _body(net, training=True)
    net.add("SoftmaxWithLoss", "loss", ["score", "label"], loss_param={"ignore_label": 255})
    return net.param


def solver() -> Any:
    """The recipe, a SolverParameter; its paths are from the project's root."""
    return training_files.adam("digit_fcn", base_lr=0.002, max_iter=STEPS, snapshot=200)


def write_prototxts(folder: str | Path = "prototxt/digit_fcn") -> list[Path]:
    """Write train.prototxt, deploy.prototxt and solver.prototxt into ``folder``; the three paths."""
    return training_files.write(folder, train=train_net(), deploy=deploy_net(), solver=solver())


def preprocess(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, 3) uint8 BGR as the net wants them: (N, 3, H, W) float32, mean subtracted."""
    return np.ascontiguousarray((images - np.asarray(MEAN, np.float32)).transpose(0, 3, 1, 2))


def fold(params: Mapping[str, Sequence[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Weights of the deployed net from those of the training net: ``batchnorm.fold``."""
    return batchnorm.fold(deploy_net(), params, NORMALISED)


def _body(net: Builder, training: bool) -> None:
    """From ``data`` to ``score``."""
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
