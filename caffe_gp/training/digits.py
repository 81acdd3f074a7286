"""Training of the demo's net with the embedded Caffe's own solver.

Reads prototxt/digit_fcn/solver.prototxt, trains, folds the batch normalisation into the convolutions and
writes into the output folder:

    digit_fcn.caffemodel   the deployed net's weights, for prototxt/digit_fcn/deploy.prototxt
    training.json          the recipe with hashes, the machine, the losses, the score on validation scenes
    training/              snapshots; a stopped run goes on from the newest when started again
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caffe_gp import engines, proto, provenance
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.files.hashes import sha256_of
from caffe_gp.files.json_files import write_json
from caffe_gp.models import digit_fcn
from caffe_gp.training import trainer

VALIDATION_SCENES = 200


def train(prototxts: Path, out: Path, steps: int | None = None, quiet: bool = False) -> dict[str, Any]:
    """Train to the end, or go on from the newest snapshot in ``out/training``: ``trainer.train``.

    prototxts  folder with train, deploy and solver.prototxt (models.digit_fcn.write_prototxts)
    out        folder for the weights and the record
    Folds, writes, scores on validation scenes. Returns what training.json holds.
    """
    recipe = trainer.read_recipe(
        prototxts / "solver.prototxt",
        net=prototxts / "train.prototxt",
        out=out / "training",
        iterations=steps,
    )
    run = trainer.train(recipe, quiet=quiet, keep=2)
    deploy = prototxts / "deploy.prototxt"
    weights = out / "digit_fcn.caffemodel"
    proto.write_caffemodel(str(weights), proto.read_net_param(str(deploy)), digit_fcn.fold(run.params()))
    score = validate(deploy, weights, quiet=quiet)
    record = {
        "weights": weights.name,
        "sha256": sha256_of(weights),
        "prototxts": {
            name: sha256_of(prototxts / f"{name}.prototxt")
            for name in ("train", "deploy", "solver")
        },
        "steps": int(run.recipe.max_iter),
        "batch": digit_fcn.BATCH,
        "data": "digit scenes, split train, seed 0: scenes 0, 1, 2, ... each seen once",
        "validation": {"scenes": VALIDATION_SCENES, **score},
        "seconds": round(run.seconds, 1),
        "environment": engines.describe("torch"),
        "code_version": provenance.code_version(),
        "loss": run.loss,
    }
    write_json(out / "training.json", record)
    return record


def validate(prototxt: Path, weights: Path, scenes: int = VALIDATION_SCENES, quiet: bool = False) -> dict:
    """Mean IU and pixel accuracy of the deployed net on the first validation scenes."""
    from tqdm import tqdm

    net = engines.load_caffe("torch").Net(str(prototxt), str(weights), 1)
    data = DigitScenes("val")
    matrix = ConfusionMatrix(digit_fcn.CLASSES)
    batch = 20
    for first in tqdm(range(0, scenes, batch), desc="validation", disable=quiet):
        images, labels = data.batch(range(first, min(first + batch, scenes)))
        net.blobs["data"].reshape(*images.transpose(0, 3, 1, 2).shape)
        net.blobs["data"].data[...] = digit_fcn.preprocess(images)
        net.forward()
        matrix.update(labels, net.blobs["score"].data.argmax(axis=1))
    return {"mean_iu": matrix.mean_iu, "pixel_accuracy": matrix.pixel_accuracy}
