"""Training of the digits net with the embedded Caffe's own solver.

It is trained with batch normalisation (BatchNorm + Scale after each convolution). ``fold`` puts the learned
statistics into the convolutions, so the deployed net is plain convolutions as the paper's nets are.

``train`` reads prototxt/digits/solver.prototxt and writes into the output folder:

    digits.caffemodel   the deployed net's weights, for prototxt/digits/deploy.prototxt
    training.json       the recipe with hashes, the machine, the losses, the score on validation scenes
    training/           snapshots; a stopped run resumes from the newest when started again
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp import engines
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.models import batchnorm, zoo
from caffe_gp.models.builder import Builder
from caffe_gp.models.digits import MEAN, NAME, NORMALISED, body, digits
from caffe_gp.training import recipe, trainer
from caffe_gp.training.record import write_record, write_weights

BATCH = 10
STEPS = 2600
VALIDATION_SCENES = 200


def train_net(batch: int = BATCH, seed: int = 0) -> Any:
    """The net as it is trained: a Python data layer, batch normalisation, dropout, SoftmaxWithLoss."""
    net = Builder(f"{NAME}_train", None)
    options = {"split": "train", "seed": seed, "batch": batch, "mean": MEAN}
    data = recipe.python_data("digit_scenes", "DigitScenesLayer", options)
    net.add("Python", "data", [], ["data", "label"], python_param=data)
    body(net, training=True)
    net.add("SoftmaxWithLoss", "loss", ["score", "label"], loss_param={"ignore_label": 255})
    return net.param


def solver() -> Any:
    """The recipe, a SolverParameter."""
    return recipe.adam(NAME, base_lr=0.002, max_iter=STEPS, snapshot=200)


def fold(params: Mapping[str, Sequence[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Weights of the deployed net from those of the training net: ``batchnorm.fold``."""
    return batchnorm.fold(digits(), params, NORMALISED)


def train(prototxts: Path, out: Path, steps: int | None = None, quiet: bool = False) -> dict[str, Any]:
    """Train to the end, or resume from the newest snapshot in ``out/training``: ``trainer.train``.

    prototxts  folder with train, deploy and solver.prototxt
    out        folder for the weights and the record
    steps      iterations in place of the recipe's
    Folds, writes, scores on validation scenes. Returns what training.json holds.
    """
    made = recipe.read_net_recipe(prototxts, out, steps)
    run = trainer.train(made, quiet=quiet, keep=2)
    weights = write_weights(out / f"{NAME}.caffemodel", prototxts, fold(run.params()))
    score = validate(prototxts / "deploy.prototxt", weights, quiet=quiet)
    return write_record(
        out / "training.json",
        run,
        weights,
        prototxts,
        batch=BATCH,
        data="digit scenes, split train, seed 0: scenes 0, 1, 2, ... each seen once",
        validation={"scenes": VALIDATION_SCENES, **score},
    )


def validate(
    prototxt: Path, weights: Path, scenes: int | None = None, quiet: bool = False
) -> dict[str, float]:
    """Mean IU and pixel accuracy of the deployed net on the first validation scenes."""
    from tqdm import tqdm

    model, data = zoo.get(NAME), DigitScenes("val")
    net = engines.load_caffe("torch").Net(str(prototxt), str(weights), 1)
    matrix = ConfusionMatrix(len(model.classes))
    scenes, batch = scenes or VALIDATION_SCENES, 20
    for first in tqdm(range(0, scenes, batch), desc="validation", disable=quiet):
        images, labels = data.batch(range(first, min(first + batch, scenes)))
        blob = model.feed.batch(images[..., ::-1])
        engines.forward(net, "data", blob)
        matrix.update(labels, net.blobs[model.score].data.argmax(axis=1))
    return {"mean_iu": matrix.mean_iu, "pixel_accuracy": matrix.pixel_accuracy}
