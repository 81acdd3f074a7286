"""Small nets for the tests of the method, as prototxt text, and weights that are equal on both engines."""

from __future__ import annotations

import os
from typing import Any, Sequence

import numpy as np

from caffe_gp import engines

# The tests of the method run on the engine that CAFFE_GP_ENGINE names.
ENGINE = engines.resolve("auto")


def conv(
    name: str,
    bottom: str,
    out: int,
    kernel: int,
    pad: int = 0,
    stride: int = 1,
    top: str | None = None,
    extra: str = "",
) -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top or name}" {extra}'
        f"convolution_param {{ num_output: {out} kernel_size: {kernel} pad: {pad} stride: {stride} }} }}\n"
    )


def in_place(name: str, kind: str, blob: str) -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{blob}" top: "{blob}" }}\n'


def pool(name: str, bottom: str, method: str = "MAX") -> str:
    return (
        f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" '
        f"pooling_param {{ pool: {method} kernel_size: 2 stride: 2 }} }}\n"
    )


def deconv(name: str, bottom: str, out: int, kernel: int, stride: int, top: str | None = None) -> str:
    return (
        f'layer {{ name: "{name}" type: "Deconvolution" bottom: "{bottom}" top: "{top or name}" '
        f"param {{ lr_mult: 0 }} convolution_param {{ num_output: {out} kernel_size: {kernel} "
        f"stride: {stride} bias_term: false }} }}\n"
    )


def crop(name: str, bottom: str, reference: str, top: str | None = None, offset: int | None = None) -> str:
    param = "" if offset is None else f"crop_param {{ axis: 2 offset: {offset} }} "
    bottoms = f'bottom: "{bottom}" bottom: "{reference}"'
    return f'layer {{ name: "{name}" type: "Crop" {bottoms} top: "{top or name}" {param}}}\n'


def add(name: str, one: str, other: str, top: str | None = None) -> str:
    return (
        f'layer {{ name: "{name}" type: "Eltwise" bottom: "{one}" bottom: "{other}" top: "{top or name}" }}\n'
    )


def attention(top: str, softmax: str = "Softmax") -> str:
    """Features of 'data', weighted by a Softmax over their channels, and 5 scores of them."""
    return (
        conv("features", "data", 4, 3, 1)
        + conv("attended", "features", 4, 1)
        + f'layer {{ name: "weights" type: "{softmax}" bottom: "attended" top: "weights" }}\n'
        + 'layer { name: "weighted" type: "Eltwise" bottom: "features" bottom: "weights" top: "weighted" '
        "eltwise_param { operation: PROD } }\n" + conv(top, "weighted", 5, 1)
    )


def input_layer(shape: Sequence[int], name: str = "input", top: str = "data") -> str:
    dims = " ".join(f"dim: {n}" for n in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{top}" input_param {{ shape {{ {dims} }} }} }}\n'


def trunk(width: int, pad: int, activation: str, pooling: str) -> str:
    """conv1_1 .. fc7 in FCN's layout: five stages of 2, 2, 3, 3, 3 convolutions, in-place activations."""
    text, bottom = "", "data"
    for stage, convs in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, convs + 1):
            name = f"conv{stage}_{i}"
            text += conv(name, bottom, width, 3, pad if name == "conv1_1" else 1)
            text += in_place(f"relu{stage}_{i}", activation, name)
            bottom = name
        text += pool(f"pool{stage}", bottom, pooling)
        bottom = f"pool{stage}"
    text += conv("fc6", "pool5", width, 7) + in_place("relu6", activation, "fc6")
    text += in_place("drop6", "Dropout", "fc6")
    text += conv("fc7", "fc6", width, 1) + in_place("relu7", activation, "fc7")
    return text + in_place("drop7", "Dropout", "fc7")


def fcn(
    head: str,
    *,
    width: int = 3,
    classes: int = 4,
    pad: int = 100,
    activation: str = "ReLU",
    pooling: str = "MAX",
    offsets: bool = True,
    names: Sequence[str] | None = None,
) -> str:
    """FCN-32s, -16s or -8s ('32s', '16s', '8s') without the data layer, narrow; the score blob is ``score``.

    offsets=False leaves the Crop layers without crop_param, as the old files do.
    names: layer names of the crops and fuses in file order (default FCN's own).
    """
    text = trunk(width, pad, activation, pooling) + conv("score_fr", "fc7", classes, 1)
    if head == "32s":
        text += deconv("upscore", "score_fr", classes, 64, 32)
        return text + crop("score", "upscore", "data", offset=19 if offsets else None)
    crops = iter(names or ["score_pool4c", "fuse_pool4", "score_pool3c", "fuse_pool3", "score"])
    text += deconv("upscore2", "score_fr", classes, 4, 2)
    text += conv("score_pool4", "pool4", classes, 1)
    text += crop(next(crops), "score_pool4", "upscore2", "score_pool4c", 5 if offsets else None)
    text += add(next(crops), "upscore2", "score_pool4c", "fuse_pool4")
    if head == "16s":
        text += deconv("upscore16", "fuse_pool4", classes, 32, 16)
        return text + crop("score", "upscore16", "data", offset=27 if offsets else None)
    text += deconv("upscore_pool4", "fuse_pool4", classes, 4, 2)
    text += conv("score_pool3", "pool3", classes, 1)
    text += crop(next(crops), "score_pool3", "upscore_pool4", "score_pool3c", 9 if offsets else None)
    text += add(next(crops), "upscore_pool4", "score_pool3c", "fuse_pool3")
    text += deconv("upscore8", "fuse_pool3", classes, 16, 8)
    return text + crop(next(crops), "upscore8", "data", "score", 31 if offsets else None)


def fill(net: Any, seed: int = 0, gain: float = 1.0) -> Any:
    """Random weights of a size that keeps activations alive, the same numbers on every engine."""
    random = np.random.RandomState(seed)
    for name, blobs in net.params.items():
        if name == "probe":
            continue
        for blob in blobs:
            shape = blob.data.shape
            fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 10
            blob.data[...] = random.standard_normal(shape) * gain * np.sqrt(2.0 / fan_in)
    return net


def load(
    tmp_path: str | os.PathLike, text: str, weights: bool = True, gain: float = 1.0, **options: Any
) -> engines.GPNet:
    """A net ready for GP from text, on the engine under test, with random weights."""
    path = os.path.join(str(tmp_path), "net.prototxt")
    with open(path, "w") as file:
        file.write(text)
    loaded = engines.load_net(path, engine=ENGINE, **options)
    if weights:
        fill(loaded.net, gain=gain)
    return loaded


def plain_net(tmp_path: str | os.PathLike, text: str, name: str = "plain.prototxt", gain: float = 1.0) -> Any:
    """A net as a user makes it with caffe.Net, untouched by the surgery."""
    path = os.path.join(str(tmp_path), name)
    with open(path, "w") as file:
        file.write(text)
    caffe = engines.load_caffe(ENGINE)
    return fill(caffe.Net(path, caffe.TEST), gain=gain)


def softmax64(scores: np.ndarray) -> np.ndarray:
    """Softmax over axis 1 in float64, written apart from the code under test."""
    z = np.asarray(scores, dtype=np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
