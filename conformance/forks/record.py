"""Records what BVLC Caffe, with our Python layers, computes for nets of forks.

    python -m conformance.forks.compare --write-inputs             # the images, for both engines
    tools/in_bvlc.sh python3 -m conformance.forks.record [TEXT]    # nets with TEXT in their name
    python -m conformance.forks.compare --table docs/forks.md

A net is run twice, the second time with its images and weights moved by a rounding error's size
(``conformance.moves``). If it does not agree with itself within the limits of the comparison, it is refused.

Writes .cache/bvlc-recordings/forks/, 1 GB. Needs the real data (CAFFE_GP_SHARED_DATA).
"""

from __future__ import annotations

import os
import pickle
import re
import sys
import time
from pathlib import Path

import numpy as np

from caffe_gp import engines
from caffe_gp.errors import DataError
from conformance import folders
from conformance.forks import nets
from conformance.forks.judge import judge
from conformance.moves import Mover

RECORDINGS = folders.RECORDINGS / "forks"
INPUTS = RECORDINGS / "inputs"


def path_of(name: str) -> Path:
    """The file of a net's recording."""
    return RECORDINGS / (re.sub(r"\W+", "_", name) + ".pickle")


def record(name: str, shared: Path, images: np.ndarray) -> str:
    """Run one net; what changes when it is moved, for people. Raises DataError if that is too much."""
    net = nets.NETS[name]
    found = nets.run(net, "bvlc", shared, images)
    moved = nets.run(net, "bvlc", shared, images, found, Mover(np.random.RandomState(0)))
    verdict = judge(net, moved, found)
    found["own_change"] = verdict.numbers()
    if not verdict.agrees():
        raise DataError(f"{name}: unstable, moved by a rounding error's size: {found['own_change']}")
    path = path_of(name)
    with open(f"{path}.partial", "wb") as file:
        pickle.dump(found, file, protocol=4)
    os.replace(f"{path}.partial", path)
    return str(found["own_change"])


def main() -> int:
    """Record; nonzero if a net is refused."""
    shared = folders.SHARED_DATA
    if not shared.is_dir():
        print("record: the real test data is not here (CAFFE_GP_SHARED_DATA); nothing recorded")
        return 0
    refused = 0
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for name, net in nets.NETS.items():
        if wanted in name:
            start = time.time()
            images = np.load(INPUTS / f"{net.images.__name__}.npy")
            try:
                change = engines.run_guarded(record, name, shared, images)
                print(f"record: {name} {change}, {time.time() - start:.0f} s", flush=True)
            except DataError as error:
                print(f"record: refused: {error}", flush=True)
                refused += 1
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
