"""Records what BVLC Caffe computes for every net of the zoo with random weights.

    tools/in_bvlc.sh python3 -m conformance.networks.record [NAME ...]
    python -m conformance.networks.compare --table docs/networks.md --write-goldens

A net is run twice, the second time with its image, its weights and all that its layers compute moved by a
rounding error's size (``conformance.moves``). If it does not agree with itself within the limits of the
comparison, it gets another image.

Writes .cache/bvlc-recordings/networks/<name>-<version>.pickle. Takes up to 2.5 GB of memory and, for a while,
545 MB in /tmp.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp import engines
from conformance import folders
from conformance.agreement import Verdict
from conformance.moves import Mover
from conformance.networks import nets
from conformance.networks.judge import judge

RECORDINGS = folders.RECORDINGS / "networks"
SEEDS = 5


def path_of(name: str) -> Path:
    """The file of a net's recording; another one for other weights or images."""
    return RECORDINGS / f"{name}-{nets.VERSION:08x}.pickle"


def record(name: str) -> bool:
    """Record one net; its file appears when it is complete. False if no image makes it stable."""
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    partial = path_of(name).with_name(path_of(name).name + ".partial")
    for seed in range(SEEDS):
        engines.run_guarded(_run, name, seed, partial)
        change = engines.run_guarded(_own_change, name, seed, partial)
        if change.agrees():
            found = pickle.loads(partial.read_bytes())
            found.update(seed=seed, own_change=change.numbers())
            _save(found, partial)
            os.replace(partial, path_of(name))
            return True
        print(f"networks: {name}: image {seed} is unstable: {change.numbers()}", flush=True)
    print(f"networks: {name}: refused, none of {SEEDS} images makes it stable", flush=True)
    return False


def _run(name: str, seed: int, path: Path) -> None:
    _save(nets.run(name, "bvlc", seed=seed), path)


def _own_change(name: str, seed: int, path: Path) -> Verdict:
    found = pickle.loads(path.read_bytes())
    mover = Mover(np.random.RandomState(seed))
    return judge(name, nets.run(name, "bvlc", found, seed=seed, mover=mover), found)


def _save(found: dict[str, Any], path: Path) -> None:
    with open(path, "wb") as file:
        pickle.dump(found, file, protocol=4)


def main() -> int:
    """Record the nets that are named, or all; nonzero if one is refused."""
    refused = 0
    for name in sys.argv[1:] or nets.SIZES:
        start = time.time()
        refused += not record(name)
        print(f"networks: {name}, {time.time() - start:.1f} s", flush=True)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
