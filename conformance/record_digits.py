"""Records what BVLC Caffe says of the demo's net on three test scenes: goldens/digit_fcn.npz.

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
from conformance import folders

GOLDEN = folders.GOLDENS / "digit_fcn.npz"
EPS = {"data": 4.0, "pool1": 0.139, "pool3": 0.0785}


def label_maps(engine_name: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """Base and GP label maps, uint8 (N, H, W), by the name of the perturbed blob."""
    loaded = engines.load_net(
        str(folders.ROOT / "prototxt" / "digits" / "deploy.prototxt"),
        str(folders.ROOT / "models" / "digits" / "digits.caffemodel"),
        engine=engine_name,
    )
    out = {}
    for blob, eps in EPS.items():
        result = GuidedPerturbation(loaded, blob=blob)(zoo.get("digits").feed.batch(images[..., ::-1]), eps)
        out["base"] = result.base_labels.astype(np.uint8)
        out[f"gp_{blob}"] = result.labels.astype(np.uint8)
    return out


if __name__ == "__main__":
    scenes = np.load(str(GOLDEN))["images"]
    arrays: dict[str, Any] = {"images": scenes, **label_maps("bvlc", scenes)}
    np.savez_compressed(sys.argv[1], **arrays)
