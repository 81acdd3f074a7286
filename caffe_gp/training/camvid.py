"""Training of the CamVid net with the embedded Caffe's own solver.

It is trained with batch normalisation, which is folded away, on random crops with a cross-entropy balanced by
median frequency: InfogainLoss with a diagonal matrix, Caffe's weighted cross-entropy.

``train`` reads prototxt/camvid/solver.prototxt, scores every snapshot on CamVid's validation images, folds
the batch normalisation of the best into the convolutions and writes into the output folder:

    camvid.caffemodel   the deployed net's weights, for prototxt/camvid/deploy.prototxt
    training.json       the recipe with hashes, the machine, the losses, the scores
    training/           snapshots; a stopped run resumes from the newest when started again

The test images are not looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp import engines
from caffe_gp.datasets import segmentation
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.models import batchnorm, zoo
from caffe_gp.models.builder import Builder
from caffe_gp.models.camvid import MEAN, NAME, NORMALISED, body, camvid
from caffe_gp.training import recipe, trainer
from caffe_gp.training.record import write_record, write_weights

BATCH = 4
CROP = 240
SCALES = (0.75, 1.35)
STEPS = 5000
# Exponent of the median-frequency weights. Whole, they make the rare classes spread; without, they vanish.
BALANCE = 0.5


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
    data = recipe.python_data("crops", "CropsLayer", options)
    net.add("Python", "data", [], ["data", "label", "balance"], python_param=data)
    body(net, training=True)
    # The last step up is fixed: the loss at half the size says as much in a quarter of the time.
    net.add("InfogainLoss", "loss", ["score_half", "label", "balance"], loss_param={"ignore_label": 255})
    return net.param


def solver() -> Any:
    """The recipe, a SolverParameter."""
    return recipe.adam(NAME, base_lr=0.001, max_iter=STEPS, snapshot=500)


def fold(params: Mapping[str, Sequence[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Weights of the deployed net from those of the training net: ``batchnorm.fold``, and the bilinear
    upsampling that the training does without."""
    profile = np.array([0.25, 0.75, 0.75, 0.25])
    upscore = np.tile(np.outer(profile, profile), (len(zoo.get(NAME).classes), 1, 1, 1))
    return batchnorm.fold(camvid(), {**params, "upscore": [upscore]}, NORMALISED)


def train(prototxts: Path, out: Path, steps: int | None = None, quiet: bool = False) -> dict[str, Any]:
    """Train to the end, or resume from the newest snapshot in ``out/training``: ``trainer.train``.

    prototxts  folder with train, deploy and solver.prototxt
    out        folder for the weights and the record
    steps      iterations in place of the recipe's
    The images are looked for in ``places.data_folder()``; DataError says how to get them. Returns what
    training.json holds.
    """
    validation = segmentation.get("camvid-val").check()
    deploy = prototxts / "deploy.prototxt"

    def score(params: dict[str, list[np.ndarray]]) -> float:
        candidate = write_weights(out / "training" / "candidate.caffemodel", prototxts, fold(params))
        return validate(deploy, candidate, validation, quiet).mean_iu

    made = recipe.read_net_recipe(prototxts, out, steps)
    run = trainer.train(made, quiet=quiet, score=score, keep=2)
    weights = write_weights(out / f"{NAME}.caffemodel", prototxts, fold(run.params()))
    matrix = validate(deploy, weights, validation, quiet)
    scored = {
        **validation.describe(),
        "mean_iu": matrix.mean_iu,
        "pixel_accuracy": matrix.pixel_accuracy,
        "iu": dict(zip(validation.classes, matrix.iu.tolist())),
    }
    return write_record(
        out / "training.json",
        run,
        weights,
        prototxts,
        chosen_iteration=run.best,
        data=segmentation.get("camvid-train").describe(),
        validation=scored,
        scores=run.scores,
    )


def validate(
    prototxt: Path, weights: Path, data: segmentation.SegmentationSet, quiet: bool = False
) -> ConfusionMatrix:
    """The deployed net's confusion matrix on a set of images, one by one."""
    from tqdm import tqdm

    model = zoo.get(NAME)
    net = engines.load_caffe("torch").Net(str(prototxt), str(weights), 1)
    matrix = ConfusionMatrix(len(model.classes))
    for item in tqdm(data.ids, desc="validation", disable=quiet, leave=False):
        blob = model.feed.load(data.image(item)).data[np.newaxis]
        engines.forward(net, "data", blob)
        matrix.update(data.truth(item), net.blobs[model.score].data[0].argmax(axis=0))
    return matrix
