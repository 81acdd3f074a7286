"""What a training of one of our nets leaves behind: the deployed net's weights and training.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp import engines, proto, provenance
from caffe_gp.files.hashes import sha256_of
from caffe_gp.files.json_files import write_json
from caffe_gp.training.trainer import Trained

# The files of a net's folder in prototxt/; their hashes are part of the record.
PROTOTXTS = ("train", "deploy", "solver")


def write_weights(path: Path, prototxts: Path, params: Mapping[str, Sequence[np.ndarray]]) -> Path:
    """Write the deployed net's weights; returns ``path``.

    prototxts  folder with deploy.prototxt
    params     layer name -> float32 arrays
    """
    proto.write_caffemodel(path, proto.read_net_param(prototxts / "deploy.prototxt"), params)
    return path


def write_record(
    path: Path,
    run: Trained,
    weights: Path,
    prototxts: Path,
    *,
    engine: str = "torch",
    device: str = "cpu",
    **more: Any,
) -> dict[str, Any]:
    """Write training.json and return what it holds: the recipe with hashes, the machine, the losses.

    weights    the file that ``write_weights`` wrote
    prototxts  folder of PROTOTXTS
    more       what else the record says, such as its data and scores
    """
    record = {
        "weights": weights.name,
        "sha256": sha256_of(weights),
        "prototxts": {name: sha256_of(prototxts / f"{name}.prototxt") for name in PROTOTXTS},
        "steps": int(run.recipe.max_iter),
        **more,
        "seconds": round(run.seconds, 1),
        "environment": engines.describe(engine, device),
        "code_version": provenance.code_version(),
        "loss": run.loss,
    }
    write_json(path, record)
    return record
