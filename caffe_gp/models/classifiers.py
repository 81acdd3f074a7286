"""Nets that label whole images: LeNet for MNIST's digits and a small CNN for CIFAR-10.

Nobody released the paper's weights of either, so they are trained here: ``write_prototxts`` writes
train.prototxt and solver.prototxt. The training nets read a Python data layer
(``caffe_gp.python_layers.classes``) and are tested on the images that are held out of the training set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caffe_gp.models import training_files
from caffe_gp.models.builder import Builder
from caffe_gp.proto import messages as pb

# As in Caffe's example: biases learn twice as fast, and decay like everything else.
_PARAM = ({"lr_mult": 1.0}, {"lr_mult": 2.0})
_XAVIER: dict = {"weight_filler": {"type": "xavier"}, "bias_filler": {"type": "constant"}}
_MSRA: dict = {"weight_filler": {"type": "msra"}, "bias_filler": {"type": "constant"}}

LENET_BATCH, CIFAR10_BATCH, TEST_BATCH = 64, 100, 100
TEST_ITERATIONS = 50  # times TEST_BATCH: the 5000 images held out of the training set
# Ours: the mean of CIFAR-10's training images; blue, green, red.
CIFAR10_MEAN = (113.865, 122.950, 125.307)


def lenet() -> Any:
    """LeNet as Caffe's MNIST example has it: 20 and 50 convolutions of 5x5 without ReLU, 500, 10.

    Grey images of 28 x 28, pixel / 256. Class scores in ``ip2``.
    """
    return _deployed("lenet", (1, 1, 28, 28), _lenet)


def cifar10() -> Any:
    """The paper's CIFAR-10 net, "64-64-128-128-128-128-10", five convolutions and two fully connected layers.

    The paper says no more. The rest is chosen here, as plain as was usual and early small, so that one core
    trains it in minutes: 3x3 convolutions that keep the size, ReLU after every layer but the last, max
    pooling by 2 after the first, second, fourth and fifth convolution (32 -> 16 -> 8 -> 4 -> 2), no
    normalisation. Colour images of 32 x 32, (grey level - mean) / 256. Class scores in ``ip2``.
    """
    return _deployed("cifar10", (1, 3, 32, 32), _cifar10)


def lenet_training(data: str = "mnist-train", seed: int = 1) -> Any:
    """LeNet as Caffe's MNIST example trains it: batches of 64, in a new order each epoch.

    data   a set of ``datasets.classification``; what ``split`` holds out of it is the test net's data
    """
    feed = {"mean": [0.0], "scale": 1 / 256}
    return _training("lenet", {"data": data, **feed}, {"batch": LENET_BATCH, "seed": seed}, _lenet)


def cifar10_training(data: str = "cifar10-train", seed: int = 1) -> Any:
    """The CIFAR-10 net in training: batches of 100, mirrored half the time, dropout before the scores."""
    options = {"batch": CIFAR10_BATCH, "seed": seed, "mirror": True}
    feed = {"mean": CIFAR10_MEAN, "scale": 1 / 256}
    return _training("cifar10", {"data": data, **feed}, options, _cifar10)


def lenet_solver() -> Any:
    """The recipe of Caffe's MNIST example, a SolverParameter; its paths are from the project's root."""
    return pb.SolverParameter(
        base_lr=0.01,
        momentum=0.9,
        weight_decay=0.0005,
        lr_policy="inv",
        gamma=0.0001,
        power=0.75,
        max_iter=10_000,
        snapshot=2500,
        **_common("lenet", test_interval=1000),
    )


def cifar10_solver() -> Any:
    """The recipe, a SolverParameter: 8 epochs of SGD whose rate decays to zero along a line."""
    return pb.SolverParameter(
        base_lr=0.03,
        momentum=0.9,
        weight_decay=0.0005,
        lr_policy="poly",
        power=1.0,
        max_iter=3600,
        snapshot=900,
        **_common("cifar10", test_interval=450),
    )


def write_prototxts(root: str | Path = "prototxt") -> list[Path]:
    """Write train.prototxt and solver.prototxt of both into ``root``/<name>/; the four paths."""
    root = Path(root)
    return [
        *training_files.write(root / "lenet", train=lenet_training(), solver=lenet_solver()),
        *training_files.write(root / "cifar10", train=cifar10_training(), solver=cifar10_solver()),
    ]


def _lenet(net: Builder, training: bool) -> str:
    """From ``data`` to the scores."""
    blob = net.conv("conv1", "data", 20, 5, param=_PARAM, **_XAVIER)
    blob = net.max_pool("pool1", blob, 2, 2)
    blob = net.conv("conv2", blob, 50, 5, param=_PARAM, **_XAVIER)
    blob = net.max_pool("pool2", blob, 2, 2)
    blob = net.relu("relu1", net.inner_product("ip1", blob, 500, param=_PARAM, **_XAVIER))
    return net.inner_product("ip2", blob, 10, param=_PARAM, **_XAVIER)


def _cifar10(net: Builder, training: bool) -> str:
    """From ``data`` to the scores."""
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


def _deployed(name: str, input_shape: tuple[int, ...], body: Any) -> Any:
    net = Builder(name, input_shape)
    net.add("Softmax", "prob", [body(net, training=False)])
    return net.param


def _training(name: str, data: dict[str, Any], options: dict[str, Any], body: Any) -> Any:
    """One net for both phases: a data layer each, accuracy in the test phase, SoftmaxWithLoss."""
    net = Builder(f"{name}_train", None)
    learning = {**data, "part": "learning", **options}
    tuning = {**data, "part": "tuning", "batch": TEST_BATCH}
    for phase, given in ((pb.TRAIN, learning), (pb.TEST, tuning)):
        layer = {
            "module": "caffe_gp.python_layers.classes",
            "layer": "ClassesLayer",
            "param_str": json.dumps(given),
        }
        net.add("Python", "data", [], ["data", "label"], python_param=layer, include=[{"phase": phase}])
    scores = body(net, training=True)
    net.add("Accuracy", "accuracy", [scores, "label"], include=[{"phase": pb.TEST}])
    net.add("SoftmaxWithLoss", "loss", [scores, "label"])
    return net.param


def _common(name: str, test_interval: int) -> dict[str, Any]:
    return {
        "net": f"prototxt/{name}/train.prototxt",
        "type": "SGD",
        "test_iter": [TEST_ITERATIONS],
        "test_interval": test_interval,
        "display": 100,
        "snapshot_prefix": f"models/{name}/training/{name}",
        "random_seed": 1,
        "solver_mode": pb.SolverParameter.CPU,
    }
