"""Training of the CamVid net with the embedded Caffe's own solver.

Reads prototxt/camvid_fcn/solver.prototxt, trains on CamVid's training images, scores every snapshot on its
validation images, folds the batch normalisation of the best into the convolutions and writes into the output
folder:

    camvid_fcn.caffemodel   the deployed net's weights, for prototxt/camvid_fcn/deploy.prototxt
    training.json           the recipe with hashes, the machine, the losses, the scores
    training/               snapshots; a stopped run goes on from the newest when started again

The test images are not looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp import engines, proto, provenance
from caffe_gp.datasets import segmentation
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.files.hashes import sha256_of
from caffe_gp.files.json_files import write_json
from caffe_gp.images.reading import read_image
from caffe_gp.models import camvid_fcn
from caffe_gp.training import trainer

NAME = camvid_fcn.NAME


def train(prototxts: Path, out: Path, steps: int | None = None, quiet: bool = False) -> dict[str, Any]:
    """Train to the end, or go on from the newest snapshot in ``out/training``: ``trainer.train``.

    prototxts  folder with train, deploy and solver.prototxt (models.camvid_fcn.write_prototxts)
    out        folder for the weights and the record
    The images are looked for where CAFFE_GP_DATA says; DataError says how to get them. Returns what
    training.json holds.
    """
    validation = segmentation.get("camvid-val").check()
    deploy = prototxts / "deploy.prototxt"
    deploy_param = proto.read_net_param(str(deploy))
    weights = out / f"{NAME}.caffemodel"

    def score(params: dict[str, list[np.ndarray]]) -> float:
        candidate = out / "training" / "candidate.caffemodel"
        proto.write_caffemodel(str(candidate), deploy_param, camvid_fcn.fold(params))
        return validate(deploy, candidate, validation, quiet).mean_iu

    recipe = trainer.read_recipe(
        prototxts / "solver.prototxt",
        net=prototxts / "train.prototxt",
        out=out / "training",
        iterations=steps,
    )
    run = trainer.train(recipe, quiet=quiet, score=score, keep=2)
    proto.write_caffemodel(str(weights), deploy_param, camvid_fcn.fold(run.params()))
    matrix = validate(deploy, weights, validation, quiet)
    record = {
        "weights": weights.name,
        "sha256": sha256_of(weights),
        "prototxts": {
            name: sha256_of(prototxts / f"{name}.prototxt")
            for name in ("train", "deploy", "solver")
        },
        "steps": int(run.recipe.max_iter),
        "chosen_iteration": run.best,
        "data": segmentation.get("camvid-train").describe(),
        "validation": {
            **validation.describe(),
            "mean_iu": matrix.mean_iu,
            "pixel_accuracy": matrix.pixel_accuracy,
            "iu": dict(zip(validation.classes, matrix.iu.tolist())),
        },
        "seconds": round(run.seconds, 1),
        "environment": engines.describe("torch"),
        "code_version": provenance.code_version(),
        "scores": run.scores,
        "loss": run.loss,
    }
    write_json(out / "training.json", record)
    return record


def validate(
    prototxt: Path, weights: Path, data: segmentation.SegmentationSet, quiet: bool = False
) -> ConfusionMatrix:
    """The deployed net's confusion matrix on a set of images, one by one."""
    from tqdm import tqdm

    net = engines.load_caffe("torch").Net(str(prototxt), str(weights), 1)
    matrix = ConfusionMatrix(camvid_fcn.CLASSES)
    for item in tqdm(data.ids, desc="validation", disable=quiet, leave=False):
        image = np.asarray(read_image(data.image(item)))[..., ::-1]
        blob = (image - np.asarray(camvid_fcn.MEAN, np.float32)).transpose(2, 0, 1)[np.newaxis]
        net.blobs["data"].reshape(*blob.shape)
        net.blobs["data"].data[...] = blob
        net.forward()
        matrix.update(data.truth(item), net.blobs["score"].data[0].argmax(axis=0))
    return matrix
