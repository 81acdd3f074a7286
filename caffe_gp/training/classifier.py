"""Training of LeNet and the CIFAR-10 net by their solver files, on either engine.

Reads prototxt/NAME/solver.prototxt, trains, and writes into the output folder:

    NAME.caffemodel   the deployed net's weights, for prototxt/NAME/deploy.prototxt: the last iteration's
    training.json     the recipe with hashes, the machine, losses, accuracy on held-out and on test images
    training/         snapshots; a stopped run goes on from the newest when started again

Another seed than the recipe's adds NAME_seed2.caffemodel and training_seed2.json beside them.
The images held out of the training set are not trained on. The test images are looked at once, at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp import engines, proto, provenance
from caffe_gp.datasets import classification
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.files.hashes import sha256_of
from caffe_gp.files.json_files import write_json
from caffe_gp.models import zoo
from caffe_gp.training import trainer

DATA = {"lenet": ("mnist-train", "mnist-test"), "cifar10": ("cifar10-train", "cifar10-test")}
_BATCH = 500


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
    """Train to the end, or go on from the newest snapshot in ``out/training``: ``trainer.train``.

    name       'lenet' or 'cifar10'
    prototxts  folder with train, deploy and solver.prototxt
    out        folder for the weights and the record
    data       names of the training and the test set; default: DATA's
    seed       in place of the recipe's; the files are then named after it
    Returns what training.json holds.
    """
    train_set, test_set = data or DATA[name]
    recipe = trainer.read_recipe(
        prototxts / "solver.prototxt",
        net=prototxts / "train.prototxt",
        out=out / "training",
        iterations=steps,
        seed=seed,
        data=data and train_set,
    )
    other = "" if seed is None else f"_seed{seed}"
    recipe.snapshot_prefix += other
    run = trainer.train(recipe, engine=engine, device=device, quiet=quiet)
    deploy, weights = prototxts / "deploy.prototxt", out / f"{name}{other}.caffemodel"
    proto.write_caffemodel(str(weights), proto.read_net_param(str(deploy)), run.params())
    caffe = engines.load_caffe(engine, device)
    learning, tuning = classification.get(train_set).split()
    test = classification.get(test_set)
    record = {
        "weights": weights.name,
        "sha256": sha256_of(weights),
        "prototxts": {
            kind: sha256_of(prototxts / f"{kind}.prototxt")
            for kind in ("train", "deploy", "solver")
        },
        "seed": int(recipe.random_seed),
        "steps": int(recipe.max_iter),
        "data": learning.describe(),
        "tuning": score(name, deploy, weights, tuning, caffe),
        "test": score(name, deploy, weights, test, caffe),
        "seconds": round(run.seconds, 1),
        "environment": engines.describe(engine, device),
        "code_version": provenance.code_version(),
        "tests": run.tests,
        "loss": run.loss,
    }
    write_json(out / f"training{other}.json", record)
    return record


def score(
    name: str, prototxt: Path, weights: Path, images: ClassificationSet, caffe: Any
) -> dict[str, Any]:
    """What a set is, how many of its images the deployed net puts into their class, and their share.

    caffe   the engine's module, of ``engines.load_caffe``
    """
    net = caffe.Net(str(prototxt), str(weights), 1)
    correct = 0
    for first in range(0, len(images), _BATCH):
        part = np.s_[first : first + _BATCH]
        blob = preprocess(name, images.images[part])
        net.blobs["data"].reshape(*blob.shape)
        net.blobs["data"].data[...] = blob
        net.forward()
        correct += int((net.blobs[zoo.get(name).score].data.argmax(1) == images.labels[part]).sum())
    return {**images.describe(), "correct": correct, "accuracy": correct / len(images)}


def preprocess(name: str, images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, C) uint8 as the zoo's net wants them: (N, C, H, W) float32; colours become BGR."""
    feed = zoo.get(name).feed
    centred = images[..., ::-1].astype(np.float32) - np.asarray(feed.mean, np.float32)
    return np.ascontiguousarray((centred * np.float32(feed.scale)).transpose(0, 3, 1, 2))
