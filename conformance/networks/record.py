"""Records what BVLC Caffe computes for every net of the zoo with random weights.

    tools/in_bvlc.sh python3 -m conformance.networks.record [NAME ...]
    python -m conformance.networks.compare --table docs/networks.md --write-goldens

Writes .cache/bvlc-recordings/networks/<name>-<version>.pickle. Takes up to 2.5 GB of memory and, for a while,
545 MB in /tmp.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from pathlib import Path

from caffe_gp import engines
from conformance import folders
from conformance.networks import nets

RECORDINGS = folders.RECORDINGS / "networks"


def path_of(name: str) -> Path:
    """The file of a net's recording; another one for other weights or images."""
    return RECORDINGS / f"{name}-{nets.VERSION:08x}.pickle"


def record(name: str) -> None:
    """Run one net on BVLC Caffe; its file appears when it is complete."""
    found = nets.run(name, "bvlc")
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    with open(f"{path_of(name)}.partial", "wb") as file:
        pickle.dump(found, file, protocol=4)
    os.replace(f"{path_of(name)}.partial", path_of(name))


def main() -> int:
    """Record the nets that are named, or all."""
    for name in sys.argv[1:] or nets.SIZES:
        start = time.time()
        engines.run_guarded(record, name)
        print(f"networks: {name}, {time.time() - start:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
