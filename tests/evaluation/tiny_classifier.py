"""A smooth classifier of 8 x 8 images, made-up images of its classes, and an evaluation of both: fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp import engines
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.evaluation.classification import Classification
from conformance import gp_nets as nets

CLASSES = 4
NET = (
    nets.input_layer((1, 1, 8, 8))
    + nets.conv("conv1", "data", 5, 3)
    + nets.in_place("act1", "TanH", "conv1")
    + 'layer { name: "ip1" type: "InnerProduct" bottom: "conv1" top: "ip1" '
    "inner_product_param { num_output: 6 } }\n"
    + nets.in_place("act2", "Sigmoid", "ip1")
    + 'layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" '
    f"inner_product_param {{ num_output: {CLASSES} }} }}\n"
)


def make_net(folder: Path) -> None:
    """Write net.prototxt and net.caffemodel."""
    net = nets.plain_net(folder, NET, name="net.prototxt")
    net.params["ip2"][0].data[...] *= 6
    net.params["ip2"][1].data[...] = 0
    net.save(str(folder / "net.caffemodel"))


def make_set(name: str, images: int, seed: int) -> ClassificationSet:
    """Random grey images and labels."""
    random = np.random.RandomState(seed)
    pixels = random.randint(0, 256, (images, 8, 8, 1)).astype(np.uint8)
    labels = random.randint(0, CLASSES, images).astype(np.int64)
    return ClassificationSet(name, tuple("abcd"), pixels, labels)


def load(folder: Path) -> engines.GPNet:
    """The net of ``folder``, ready for guided perturbations."""
    files = str(folder / "net.prototxt"), str(folder / "net.caffemodel")
    return engines.load_net(*files, engine=nets.ENGINE)


def settings(folder: Path, out: Path, **options: Any) -> Classification:
    """A Classification of the net in ``folder``; quiet."""
    given = {
        "train": make_set("tiny-train", 60, seed=1),
        "test": make_set("tiny-test", 23, seed=2),
        "eps": [0.05, -0.1],
        "mean": (128.0,),
        "scale": 1 / 64,
        "batch_size": 5,
        "engine": nets.ENGINE,
        "quiet": True,
        **options,
    }
    files = str(folder / "net.prototxt"), str(folder / "net.caffemodel")
    return Classification(*files, out=out, **given)
