"""The zoo's nets at full width on small images, with random weights that are the same on every machine.

The weights go through a caffemodel of full size, written from a seed and deleted after use, so that both
engines read the same file by the same names.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from pathlib import Path
from typing import Any, Callable

import numpy as np

from caffe_gp import engines, proto
from caffe_gp.models import zoo
from conformance import observe
from conformance.moves import Mover

# (N, H, W) of the images; DeepLab's sizes are 8 n + 1, with three scales 32 n + 1.
SIZES = {
    "fcn-32s": (1, 48, 64),
    "fcn-16s": (1, 48, 64),
    "fcn-8s": (1, 48, 64),
    "fcn-8s-atonce": (1, 48, 64),
    "fcn-alexnet": (1, 64, 80),
    "fcn-8s-context": (1, 48, 64),
    "fcn-8s-coco": (1, 48, 64),
    "crfasrnn-coco": (1, 48, 64),
    "deeplab-vgg16": (1, 65, 97),
    "deeplab-coco-largefov": (1, 65, 97),
    "deeplab-resnet101": (1, 65, 97),
    "camvid": (1, 48, 64),
    "digits": (1, 48, 64),
    "lenet": (16, 28, 28),
    "cifar10": (16, 32, 32),
}
# Nets whose images have one size, a large one: compared with their own weights in conformance/released; and
# one that is another with BatchNorm and Scale, which conformance/cases has alone and in nets.
ELSEWHERE = {"mnv2-dm05-257", "mnv2-dm10-513", "camvid-bn"}
# Blob of the scores that go into the mean field.
BEFORE_CRF = {"crfasrnn-coco": "coarse"}
# A step that moves some labels of these random nets.
EPS = 1.0
# Random numbers are drawn once a layer and repeated: a prime, so that no two filters are the same.
PERIOD = 1_000_003
# Of this file: a recording made with other weights or images says nothing.
VERSION = zlib.crc32(Path(__file__).read_bytes())


def images(name: str, size: tuple[int, int, int] | None = None, seed: int = 0) -> np.ndarray:
    """Smooth colour waves and some noise, preprocessed as the net wants it; ``size`` as in SIZES."""
    model = zoo.get(name)
    n, height, width = size or SIZES[name]
    random = np.random.RandomState(zlib.crc32(name.encode()) + seed)
    channels = len(model.feed.mean)
    y, x = np.mgrid[:height, :width]
    pixels = np.empty((n, channels, height, width))
    for image in pixels:
        for plane in image:
            a, b, c = random.uniform(-0.3, 0.3, 3)
            plane[...] = 127 + 90 * np.sin(a * x + b * y + 20 * c) + random.uniform(-30, 30, x.shape)
    mean = np.array(model.feed.mean).reshape(1, -1, 1, 1)
    return ((np.clip(pixels, 0, 255) - mean) * model.feed.scale).astype(np.float32)


def weights(name: str, shapes: dict[str, list[tuple]]) -> dict[str, list[np.ndarray]]:
    """Random parameters of every layer by its name, of these shapes; layers that share others' get those."""
    model = zoo.get(name)
    net = model.net()
    made: dict[str, list[np.ndarray]] = {}
    by_parameter: dict[str, np.ndarray] = {}
    for layer in net.layer:
        if layer.name not in shapes:
            continue
        names = [spec.name for spec in layer.param]
        if any(names) and all(parameter in by_parameter for parameter in names):
            made[layer.name] = [by_parameter[parameter] for parameter in names]
            continue
        random = np.random.RandomState(zlib.crc32(layer.name.encode()))
        if layer.type in _MAKERS:
            made[layer.name] = _MAKERS[layer.type](random, layer, shapes[layer.name])
        else:
            made[layer.name] = _filters(random, shapes[layer.name], model, "data" in layer.bottom[0])
        by_parameter.update(zip(names, made[layer.name]))
    return made


def _filters(random: Any, shapes: list, model: zoo.Model, reads_image: bool) -> list[np.ndarray]:
    """Filters of mean zero, and biases of one: activations of deviation one around one before the ReLU.

    Filters of mean zero see how activations vary over the image, which random ones otherwise do less and less
    with every layer; three quarters of the variance pass such a ReLU. Without the biases every layer would
    double the effect of rounding (in variance), and 16 of them tell nothing about the engines.
    """
    size = int(np.prod(shapes[0]))
    block = random.standard_normal(min(size, PERIOD)).astype(np.float32)
    weight = np.resize(block, shapes[0])
    rows = weight.reshape(len(weight), -1)
    rows -= rows.mean(1, keepdims=True)
    if len(weight) == len(model.classes):  # scores, of a trained net's size
        gain, bias = 12.0, 0.0
    elif reads_image:
        gain, bias = 1 / (60 * model.feed.scale) ** 2, 1.0
    else:
        gain, bias = 4 / 3, 1.0
    rows *= np.float32(np.sqrt(gain / rows.shape[1]))
    return [weight, *[bias + _small(random, shape) for shape in shapes[1:]]]


def _small(random: Any, shape: tuple) -> np.ndarray:
    return np.float32(0.1) * random.standard_normal(shape).astype(np.float32)


def _upsampling(random: Any, layer: Any, shapes: list) -> list[np.ndarray]:
    """Bilinear, each class to itself; with a little of every other class where the net learned it. Between
    different numbers of channels: small random values."""
    inputs, outputs, _, size = shapes[0]
    if outputs not in (1, inputs):
        return [0.2 * _small(random, shape) for shape in shapes]
    weight = np.zeros(shapes[0], np.float32)
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 else factor - 0.5
    line = 1 - np.abs(np.arange(size) - centre) / factor
    weight[range(inputs), np.arange(inputs) % outputs] = np.outer(line, line)
    if not len(layer.param) or layer.param[0].lr_mult:
        weight += 0.2 * _small(random, weight.shape)
    return [weight, *[_small(random, shape) for shape in shapes[1:]]]


def _statistics(random: Any, layer: Any, shapes: list) -> list[np.ndarray]:
    """Means, variances and their common divisor, as a long training leaves them."""
    divisor = np.float32(999.98)
    mean = _small(random, shapes[0])
    variance = random.uniform(0.7, 1.4, shapes[1]).astype(np.float32)
    return [mean * divisor, variance * divisor, np.full(shapes[2], divisor, np.float32)]


def _scale(random: Any, layer: Any, shapes: list) -> list[np.ndarray]:
    """Factors and biases near one, smaller where a residual branch ends; or the net's constant."""
    if layer.scale_param.filler.value:
        return [np.full(shapes[0], layer.scale_param.filler.value, np.float32)]
    size, bias = (0.3, 0.0) if "branch2c" in layer.name else (1.0, 1.0)
    factor = random.uniform(0.8 * size, 1.2 * size, shapes[0]).astype(np.float32)
    return [factor, bias + _small(random, shapes[1])]


def _mean_field(random: Any, layer: Any, shapes: list) -> list[np.ndarray]:
    """Potts, and a little noise, as if trained.

    CRF-RNN starts from factors of 3 and 5. On random scores those leave some pixels undecided between two
    states, and differences grow 5000 times there in ten iterations; with these, 7 times.
    """
    unit = np.eye(shapes[0][-1], dtype=np.float32)
    return [factor * unit + 0.5 * _small(random, shape) for factor, shape in zip((1, 1.5, -1), shapes)]


_MAKERS: dict[str, Callable[[Any, Any, list], list[np.ndarray]]] = {
    "Deconvolution": _upsampling,
    "BatchNorm": _statistics,
    "Scale": _scale,
    "MultiStageMeanfield": _mean_field,
}


def write_weights(name: str, caffemodel: str, engine: str) -> None:
    """Write the random weights as a file that either engine reads; ``engine`` tells the shapes."""
    params = load(name, engine, None).net.params
    shapes = {layer: [tuple(blob.data.shape) for blob in blobs] for layer, blobs in params.items()}
    del params
    proto.write_caffemodel(caffemodel, zoo.get(name).net(), weights(name, shapes))


def load(
    name: str, engine: str, caffemodel: str | None, size: tuple[int, int, int] | None = None
) -> engines.GPNet:
    """The net on an engine; ``size`` as in SIZES."""
    model = zoo.get(name)
    n, height, width = size or SIZES[name]
    return engines.load_net(
        str(model.prototxt()),
        caffemodel,
        engine=engine,
        score=model.score,
        input_shape=(n, None, height, width),
    )


def run(
    name: str, engine: str, theirs: Any = None, *, seed: int = 0, mover: Mover | None = None
) -> dict[str, Any]:
    """What ``engine`` computes: see ``observe.observe``. ``seed``: of the images. Besides

    activations         of the first image, unless ``theirs`` is given
    before_crf, score_on   if the net has a mean field: what goes into it, and what it makes of ``theirs``
    diff_on, moved_on   diff at the input on the activations of ``theirs``, and labels after a step along it
    """
    with tempfile.TemporaryDirectory() as folder:
        caffemodel = os.path.join(folder, f"{name}.caffemodel")
        write_weights(name, caffemodel, engine)
        loaded = load(name, engine, caffemodel)
    batch = images(name, seed=seed)
    if mover is not None:
        mover.move_params(loaded.net)
        mover.follow(loaded.net)
        batch = mover(batch)
    eps = EPS * zoo.get(name).feed.scale
    found: dict[str, Any] = observe.observe(loaded, batch, eps)
    if theirs is None:
        found["activations"] = observe.activations(loaded, batch[:1])
    else:
        if name in BEFORE_CRF:
            found["before_crf"], found["score_on"] = observe.score_from(
                loaded, theirs["activations"], BEFORE_CRF[name]
            )
        found["diff_on"] = observe.diff_on(loaded, theirs["activations"])
        found["moved_on"] = observe.labels_after(loaded, batch[:1], found["diff_on"], eps)
    return found
