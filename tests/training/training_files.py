"""A folder with the files of a training, as prototxt/NAME has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caffe_gp import proto


def write(folder: Path, *, train: Any, deploy: Any, solver: Any) -> Path:
    """Write train.prototxt, deploy.prototxt and solver.prototxt; the folder."""
    folder.mkdir(parents=True)
    for name, message in (("train", train), ("deploy", deploy), ("solver", solver)):
        proto.write_text(message, folder / f"{name}.prototxt")
    return folder
