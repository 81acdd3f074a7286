"""What BVLC Caffe computes for the nets that ``compare --write-jobs`` left for it.

    tools/in_bvlc.sh python3 -m conformance.every.record

Each net in a child process: BVLC Caffe ends where it does not know a layer.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp import engines
from conformance import folders

JOBS = folders.RECORDINGS / "every"


def write_job(path: Path, **job: Any) -> None:
    """One file, which every numpy reads: dicts of arrays as KEY:NAME."""
    arrays: dict[str, Any] = {}
    for key, value in job.items():
        if isinstance(value, dict):
            arrays.update((f"{key}:{name}", array) for name, array in value.items())
        else:
            arrays[key] = np.array(value)
    np.savez(str(path), **arrays)


def read_job(path: Path) -> dict[str, Any]:
    """What was written."""
    job: dict[str, Any] = {"inputs": {}, "signals": {}}
    with np.load(str(path)) as arrays:
        for name in arrays.files:
            key, colon, blob = name.partition(":")
            if colon:
                job[key][blob] = arrays[name]
            else:
                job[key] = arrays[name].tolist()
    return job


def record(path: Path) -> Any:
    """Blobs forward and the diff at the image."""
    job = read_job(path)
    caffe = engines.load_caffe("bvlc")
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(job["text"])
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    own = path.with_suffix(".caffemodel")
    net.copy_from(str(folders.SHARED_DATA / job["caffemodel"] if job["caffemodel"] else own))
    for name, array in job["inputs"].items():
        net.blobs[name].reshape(*array.shape)
        net.blobs[name].data[...] = array
    net.forward()
    found = {"forward": {name: net.blobs[name].data.copy() for name in job["compared"]}}
    for name, diff in job["signals"].items():
        net.blobs[name].diff[...] = diff
    net.backward(start=job["start"])
    found["backward"] = net.blobs[job["image"]].diff.copy()
    path.with_suffix(".bvlc").write_bytes(pickle.dumps(found, protocol=4))
    return True


def main() -> int:
    """Record what can be."""
    for path in sorted(JOBS.glob("*.npz")):
        try:
            engines.run_guarded(record, path)
            print(path.stem, flush=True)
        except Exception as error:  # pycaffe raises RuntimeError and the like
            last = str(error).replace(os.getcwd(), "").split(" (known types")[0]
            path.with_suffix(".bvlc").write_bytes(pickle.dumps({"error": last}, protocol=4))
            print(path.stem, last, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
