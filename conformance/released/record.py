"""Records what BVLC Caffe computes for the released nets, and what it says to the other files.

    python -m conformance.released.compare --write-inputs             # the images, for both engines
    tools/in_bvlc.sh python3 -m conformance.released.record [TEXT]    # nets with TEXT in their name
    python -m conformance.released.compare --table docs/compatibility.md

Writes .cache/bvlc-recordings/compatibility/. Needs the real data (CAFFE_GP_SHARED_DATA).
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np

from caffe_gp import engines
from conformance import folders
from conformance.released import nets, other_files

RECORDINGS = folders.RECORDINGS / "compatibility"
INPUTS = RECORDINGS / "inputs"


def save(name: str, found: object) -> None:
    """Under a name made of the net's or 'other files', complete or not at all."""
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.partial", "wb") as file:
        pickle.dump(found, file, protocol=4)
    os.replace(f"{path}.partial", path)


def record(net: nets.Released, shared: Path, images: np.ndarray) -> None:
    """Run one net."""
    save(net.name, nets.run(net, "bvlc", shared, images))


def path_of(name: str) -> Path:
    """The file of a recording."""
    return RECORDINGS / (name.replace("/", "__").replace(" ", "") + ".pickle")


def main() -> int:
    """Record."""
    shared = folders.SHARED_DATA
    if not shared.is_dir():
        print("record: the real test data is not here (CAFFE_GP_SHARED_DATA); nothing recorded")
        return 0
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for net in nets.NETS.values():
        if wanted in net.name:
            images = np.load(INPUTS / f"{net.images.__name__}.npy")
            engines.run_guarded(record, net, shared, images)
            print(f"record: {net.name}", flush=True)
    if not wanted:
        save("other files", {file: other_files.bvlc_says(shared, file) for file in other_files.FILES})
    return 0


if __name__ == "__main__":
    sys.exit(main())
