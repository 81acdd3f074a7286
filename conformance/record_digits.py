"""Records what BVLC Caffe says of the demo's net on three test scenes: goldens/digit_fcn.npz.

Besides, as ``own_change/<kind>``, how many of its labels change when inputs and weights are moved by a
rounding error's size (``moves``).

Usage:

    tools/in_bvlc.sh python3 -m conformance.record_digits reports/digit_fcn.npz

The scenes are taken from the old recording (or, for a new choice, from an .npz with ``images``).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from caffe_gp import engines
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.models import zoo
from conformance import closeness, folders
from conformance.moves import Mover

GOLDEN = folders.GOLDENS / "digit_fcn.npz"
EPS = {"data": 4.0, "pool1": 0.139, "pool3": 0.0785}


def label_maps(engine_name: str, images: np.ndarray, mover: Mover | None = None) -> dict[str, np.ndarray]:
    """Base and GP label maps, uint8 (N, H, W), by the name of the perturbed blob."""
    loaded = engines.load_net(
        str(folders.ROOT / "prototxt" / "digits" / "deploy.prototxt"),
        str(folders.ROOT / "models" / "digits" / "digits.caffemodel"),
        engine=engine_name,
    )
    batch = zoo.get("digits").feed.batch(images[..., ::-1])
    if mover is not None:
        mover.move_params(loaded.net)
        batch = mover(batch)
    out = {}
    for blob, eps in EPS.items():
        result = GuidedPerturbation(loaded, blob=blob)(batch, eps)
        out["base"] = result.base_labels.astype(np.uint8)
        out[f"gp_{blob}"] = result.labels.astype(np.uint8)
    return out


if __name__ == "__main__":
    with np.load(str(GOLDEN)) as golden:
        scenes = golden["images"]
    found = label_maps("bvlc", scenes)
    moved = label_maps("bvlc", scenes, Mover(np.random.RandomState(0)))
    change = {f"own_change/{kind}": closeness.differing(moved[kind], found[kind]) for kind in found}
    print(change)
    arrays: dict[str, Any] = {"images": scenes, **found, **change}
    np.savez_compressed(sys.argv[1], **arrays)
