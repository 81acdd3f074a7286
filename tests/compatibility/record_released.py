#!/usr/bin/env python3
"""Records what BVLC Caffe computes for the released nets, and what it says to the other files.

    python tests/compatibility/compare_released.py --write-inputs             # the images, for both engines
    tools/in_bvlc.sh python3 tests/compatibility/record_released.py [TEXT]    # nets with TEXT in their name
    python tests/compatibility/compare_released.py --table docs/compatibility.md

Writes .cache/bvlc-recordings/compatibility/. Needs the real data (CAFFE_GP_SHARED_DATA).
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(HERE)]

import numpy as np  # noqa: E402
import other_files  # noqa: E402
import released  # noqa: E402

from caffe_gp import engines  # noqa: E402

RECORDINGS = (
    Path(os.environ.get("CAFFE_GP_RECORDINGS", str(ROOT / ".cache/bvlc-recordings"))) / "compatibility"
)
INPUTS = RECORDINGS / "inputs"


def save(name: str, found: object) -> None:
    """Under a name made of the net's or 'other files', complete or not at all."""
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.partial", "wb") as file:
        pickle.dump(found, file, protocol=4)
    os.replace(f"{path}.partial", path)


def record(net: released.Released, shared: Path, images: np.ndarray) -> None:
    """Run one net."""
    save(net.name, released.run(net, "bvlc", shared, images))


def path_of(name: str) -> Path:
    """The file of a recording."""
    return RECORDINGS / (name.replace("/", "__").replace(" ", "") + ".pickle")


def main() -> int:
    """Record."""
    shared = Path(os.environ.get("CAFFE_GP_SHARED_DATA", str(ROOT.parent / "shared" / "data")))
    if not shared.is_dir():
        print("record: the real test data is not here (CAFFE_GP_SHARED_DATA); nothing recorded")
        return 0
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for net in released.NETS.values():
        if wanted in net.name:
            images = np.load(INPUTS / f"{net.images.__name__}.npy")
            engines.run_guarded(record, net, shared, images)
            print(f"record: {net.name}", flush=True)
    if not wanted:
        save("other files", {file: other_files.bvlc_says(shared, file) for file in other_files.FILES})
    return 0


if __name__ == "__main__":
    sys.exit(main())
