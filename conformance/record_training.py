"""Records LeNet's recipe from released weights on BVLC Caffe: goldens/lenet_training.json.

Besides, as ``moved``, what it computes from weights moved by a rounding error's size (``moves``).

Usage:

    tools/in_bvlc.sh python3 -m conformance.record_training reports/lenet_training.json
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp.training import trainer
from caffe_gp.training.recipe import read_recipe
from conformance import folders
from conformance.moves import Mover

GOLDEN = folders.GOLDENS / "lenet_training.json"
RELEASED = "caffemodels/lenet_ethereon/examples/mnist"


def numbers(engine_name: str, data: Path, out: Path, mover: Mover | None = None) -> dict[str, Any]:
    """Losses, test scores and sizes of the weights in 12 iterations of the committed recipe.

    Nothing in it is random once the weights are given: both engines see the same images in the same order.
    CAFFE_GP_DATA and CAFFE_GP_ENGINE must be set to ``data`` and ``engine_name``.
    """
    recipe = read_recipe(
        folders.ROOT / "prototxt/lenet/solver.prototxt",
        net=folders.ROOT / "prototxt/lenet/train.prototxt",
        out=out,
        iterations=12,
    )
    weights = data / RELEASED / "lenet_iter_10000.caffemodel"
    if mover is not None:
        moved = out / "moved.caffemodel"
        mover.write_moved(moved, data / RELEASED / "lenet.prototxt", weights, engine_name)
        weights = moved
    every, trainer.LOG_EVERY = trainer.LOG_EVERY, 1
    try:
        run = trainer.train(recipe, engine=engine_name, weights=weights, quiet=True)
    finally:
        trainer.LOG_EVERY = every
    sums = {name: [float(np.abs(blob).sum()) for blob in blobs] for name, blobs in run.params().items()}
    return {"loss": run.loss, "tests": run.tests, "sums": {name: each for name, each in sums.items() if each}}


if __name__ == "__main__":
    shared = Path(os.environ["CAFFE_GP_SHARED_DATA"])
    os.environ.update(CAFFE_GP_DATA=str(shared), CAFFE_GP_ENGINE="bvlc")
    found: dict[str, Any] = {}
    for key, mover in (("recorded", None), ("moved", Mover(np.random.RandomState(0)))):
        with tempfile.TemporaryDirectory() as folder:
            found[key] = numbers("bvlc", shared, Path(folder), mover)
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
