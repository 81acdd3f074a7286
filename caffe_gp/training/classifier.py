"""Training of LeNet and the CIFAR-10 net by their solver files, on either engine.

``train`` reads prototxt/NAME/solver.prototxt and writes into the output folder:

    NAME.caffemodel   the deployed net's weights, for prototxt/NAME/deploy.prototxt: the last iteration's
    training.json     the recipe with hashes, the machine, losses, accuracy on held-out and on test images
    training/         snapshots; a stopped run resumes from the newest when started again

Another seed than the recipe's adds NAME_seed2.caffemodel and training_seed2.json beside them.
The images held out of the training set are not trained on: they are the test net's. The test images are
looked at once, at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np

from caffe_gp import engines
from caffe_gp.datasets import classification
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.models import zoo
from caffe_gp.models.builder import Builder
from caffe_gp.models.classifiers import cifar10_body, lenet_body
from caffe_gp.proto import messages as pb
from caffe_gp.training import recipe, trainer
from caffe_gp.training.record import write_record, write_weights

DATA = {"lenet": ("mnist-train", "mnist-test"), "cifar10": ("cifar10-train", "cifar10-test")}
LENET_BATCH, CIFAR10_BATCH, TEST_BATCH = 64, 100, 100
TEST_ITERATIONS = 50  # times TEST_BATCH: the 5000 images held out of the training set
_SCORED_AT_ONCE = 500

# ---- the recipes


def lenet_net(data: str = "mnist-train", seed: int = 1) -> Any:
    """LeNet as Caffe's MNIST example trains it: batches of 64, in a new order each epoch.

    data   a set of ``datasets.classification``; what ``split`` holds out of it is the test net's data
    """
    return _net("lenet", data, {"batch": LENET_BATCH, "seed": seed}, lenet_body)


def cifar10_net(data: str = "cifar10-train", seed: int = 1) -> Any:
    """The CIFAR-10 net in training: batches of 100, mirrored half the time, dropout before the scores."""
    return _net("cifar10", data, {"batch": CIFAR10_BATCH, "seed": seed, "mirror": True}, cifar10_body)


def lenet_solver() -> Any:
    """The recipe of Caffe's MNIST example, a SolverParameter."""
    return _sgd(
        "lenet",
        base_lr=0.01,
        lr_policy="inv",
        gamma=0.0001,
        power=0.75,
        max_iter=10_000,
        snapshot=2500,
        test_interval=1000,
    )


def cifar10_solver() -> Any:
    """The recipe, a SolverParameter: 8 epochs of SGD whose rate decays to zero along a line."""
    return _sgd(
        "cifar10",
        base_lr=0.03,
        lr_policy="poly",
        power=1.0,
        max_iter=3600,
        snapshot=900,
        test_interval=450,
    )


def _net(name: str, data: str, options: dict[str, Any], body: Callable[..., str]) -> Any:
    """One net for both phases: a data layer each, accuracy in the test phase, SoftmaxWithLoss."""
    net = Builder(f"{name}_train", None)
    feed = zoo.get(name).feed
    common = {"data": data, "mean": feed.mean, "scale": feed.scale}
    learning = {**common, "part": "learning", **options}
    tuning = {**common, "part": "tuning", "batch": TEST_BATCH}
    for phase, given in ((pb.TRAIN, learning), (pb.TEST, tuning)):
        layer = recipe.python_data("classes", "ClassesLayer", given)
        net.add("Python", "data", [], ["data", "label"], python_param=layer, include=[{"phase": phase}])
    scores = body(net, training=True)
    net.add("Accuracy", "accuracy", [scores, "label"], include=[{"phase": pb.TEST}])
    net.add("SoftmaxWithLoss", "loss", [scores, "label"])
    return net.param


def _sgd(name: str, **fields: Any) -> Any:
    """SGD with Caffe's usual momentum and decay, tested on the images that are held out."""
    return recipe.solver(
        name,
        type="SGD",
        momentum=0.9,
        weight_decay=0.0005,
        test_iter=[TEST_ITERATIONS],
        display=100,
        **fields,
    )


# ---- the training


def train(
    name: str,
    prototxts: Path,
    out: Path,
    *,
    data: tuple[str, str] | None = None,
    seed: int | None = None,
    steps: int | None = None,
    engine: str = "torch",
    device: str = "cpu",
    quiet: bool = False,
) -> dict[str, Any]:
    """Train to the end, or resume from the newest snapshot in ``out/training``: ``trainer.train``.

    name       'lenet' or 'cifar10'
    prototxts  folder with train, deploy and solver.prototxt
    out        folder for the weights and the record
    data       names of the training and the test set; default: DATA's
    seed       in place of the recipe's; the files are then named after it
    steps      iterations in place of the recipe's
    Returns what training.json holds.
    """
    train_set, test_set = data or DATA[name]
    made = recipe.read_net_recipe(prototxts, out, steps, seed=seed, data=data and train_set)
    other = "" if seed is None else f"_seed{seed}"
    made.snapshot_prefix += other
    run = trainer.train(made, engine=engine, device=device, quiet=quiet)
    weights = write_weights(out / f"{name}{other}.caffemodel", prototxts, run.params())
    caffe = engines.load_caffe(engine, device)
    learning, tuning = classification.get(train_set).split()

    def scored(images: ClassificationSet) -> dict[str, Any]:
        return score(name, prototxts / "deploy.prototxt", weights, images, caffe)

    return write_record(
        out / f"training{other}.json",
        run,
        weights,
        prototxts,
        engine=engine,
        device=device,
        seed=int(made.random_seed),
        data=learning.describe(),
        tuning=scored(tuning),
        test=scored(classification.get(test_set)),
        tests=run.tests,
    )


def score(name: str, prototxt: Path, weights: Path, images: ClassificationSet, caffe: Any) -> dict[str, Any]:
    """What a set is, how many of its images the deployed net puts into their class, and their share.

    caffe   the engine's module, of ``engines.load_caffe``
    """
    model = zoo.get(name)
    net = caffe.Net(str(prototxt), str(weights), 1)
    correct = 0
    for first in range(0, len(images), _SCORED_AT_ONCE):
        part = np.s_[first : first + _SCORED_AT_ONCE]
        blob = model.feed.batch(images.images[part])
        engines.forward(net, "data", blob)
        correct += int((net.blobs[model.score].data.argmax(1) == images.labels[part]).sum())
    return {**images.describe(), "correct": correct, "accuracy": correct / len(images)}
