#!/usr/bin/env python3
"""Records what BVLC Caffe computes for every net of the zoo with random weights.

    tools/in_bvlc.sh python3 tests/bvlc/networks/record_networks.py [NAME ...]
    python tests/bvlc/networks/compare_networks.py --table docs/networks.md --write-goldens

Writes .cache/bvlc-recordings/networks/<name>-<version>.pickle. Takes up to 2.5 GB of memory and, for a while,
545 MB in /tmp.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(HERE)]

import zoo_nets  # noqa: E402

from caffe_gp import engines  # noqa: E402

RECORDINGS = Path(os.environ.get("CAFFE_GP_RECORDINGS", str(ROOT / ".cache/bvlc-recordings"))) / "networks"


def path_of(name: str) -> Path:
    """The file of a net's recording; another one for other weights or images."""
    return RECORDINGS / f"{name}-{zoo_nets.VERSION:08x}.pickle"


def record(name: str) -> None:
    """Run one net on BVLC Caffe; its file appears when it is complete."""
    found = zoo_nets.run(name, "bvlc")
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    with open(f"{path_of(name)}.partial", "wb") as file:
        pickle.dump(found, file, protocol=4)
    os.replace(f"{path_of(name)}.partial", path_of(name))


def main() -> int:
    """Record the nets that are named, or all."""
    for name in sys.argv[1:] or zoo_nets.SIZES:
        start = time.time()
        engines.run_guarded(record, name)
        print(f"record_networks: {name}, {time.time() - start:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
