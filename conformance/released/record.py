"""Records what BVLC Caffe computes for the released nets, and what it says to the other files.

    python -m conformance.released.compare --write-inputs             # the images, for both engines
    tools/in_bvlc.sh python3 -m conformance.released.record [TEXT]    # nets with TEXT in their name
    python -m conformance.released.compare --table docs/compatibility.md

A net is run twice, the second time with its images and weights moved by a rounding error's size
(``conformance.moves``). If it does not agree with itself within the limits of the comparison, it is refused
and needs another step.

Writes .cache/bvlc-recordings/compatibility/. Needs the real data (CAFFE_GP_SHARED_DATA).
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np

from caffe_gp import engines
from caffe_gp.errors import DataError
from conformance import folders
from conformance.moves import Mover
from conformance.released import nets, other_files
from conformance.released.judge import judge

RECORDINGS = folders.RECORDINGS / "compatibility"
INPUTS = RECORDINGS / "inputs"


def save(name: str, found: object) -> None:
    """Under a name made of the net's or 'other files', complete or not at all."""
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.partial", "wb") as file:
        pickle.dump(found, file, protocol=4)
    os.replace(f"{path}.partial", path)


def record(net: nets.Released, shared: Path, images: np.ndarray) -> str:
    """Run one net; what changes when it is moved, for people. Raises DataError if that is too much."""
    found = nets.run(net, "bvlc", shared, images)
    if not net.same_as:
        moved = nets.run(net, "bvlc", shared, images, found, Mover(np.random.RandomState(0)))
        verdict = judge(net, moved, found)
        found["own_change"] = verdict.numbers()
        if not verdict.agrees():
            raise DataError(f"{net.name}: unstable, moved by a rounding error's size: {found['own_change']}")
    save(net.name, found)
    return str(found.get("own_change", ""))


def path_of(name: str) -> Path:
    """The file of a recording."""
    return RECORDINGS / (name.replace("/", "__").replace(" ", "") + ".pickle")


def main() -> int:
    """Record; nonzero if a net is refused."""
    shared = folders.SHARED_DATA
    if not shared.is_dir():
        print("record: the real test data is not here (CAFFE_GP_SHARED_DATA); nothing recorded")
        return 0
    refused = 0
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for net in nets.NETS.values():
        if wanted in net.name:
            images = np.load(INPUTS / f"{net.images.__name__}.npy")
            try:
                change = engines.run_guarded(record, net, shared, images)
                print(f"record: {net.name} {change}", flush=True)
            except DataError as error:
                print(f"record: refused: {error}", flush=True)
                refused += 1
    if not wanted:
        save("other files", {file: other_files.bvlc_says(shared, file) for file in other_files.FILES})
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
