"""Runs nearest-neighbour GP on one engine and keeps its labels, to be compared with the other engine.

    tools/in_bvlc.sh python3 -m conformance.record_classify

It is run twice, the second time with weights and images moved by a rounding error's size (``moves``), and
refused if its own labels then change by more than ``closeness.LABELS_LIMIT``.

Writes .cache/bvlc-recordings/classify/lenet.npz; ``tests/bvlc/test_classify_agree.py`` does the same on the
embedded Caffe. Needs the real data (CAFFE_GP_SHARED_DATA).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from caffe_gp import engines
from caffe_gp.datasets import classification as sets
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.evaluation.classification import Classification, evaluate
from conformance import closeness, folders
from conformance.moves import SIZE, Mover

RECORDING = folders.RECORDINGS / "classify" / "lenet.npz"
LENET = "caffemodels/cifar10_everpeace/examples/mnist"
TRAIN, TEST = 20_000, 1000


def run(engine: str, shared: Path, mover: Mover | None = None) -> dict[str, np.ndarray]:
    """LeNet on the first test images: base labels, neighbours, and labels of every variant and eps.

    mover: moves the weights, each by itself, and the images, all by the same part.
    """
    with tempfile.TemporaryDirectory() as folder:
        prototxt = str(shared / LENET / "lenet.prototxt")
        caffemodel, scale = str(shared / LENET / "lenet_iter_5000.caffemodel"), 1 / 256
        if mover is not None:
            moved = os.path.join(folder, "moved.caffemodel")
            mover.write_moved(moved, prototxt, caffemodel, engine)
            caffemodel, scale = moved, scale * (1 + SIZE)
        found = evaluate(
            Classification(
                prototxt=prototxt,
                caffemodel=caffemodel,
                scale=scale,
                train=sets.get("mnist-train", shared).first(TRAIN),
                test=sets.get("mnist-test", shared).first(TEST),
                eps=[0.03, 0.1, -0.03],
                k=(1, 3),
                gradient_at=("neighbour", "test"),
                out=Path(folder) / "run",
                engine=engine,
                quiet=True,
            )
        )
    labels = {variant.name: values for variant, values in found.labels.items()}
    return {"base": found.base, "neighbours": found.neighbours["ip1"], **labels}


def differing(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> closeness.Differing:
    """How many labels of two runs differ, by variant and eps; neighbours are not labels."""
    kinds = [kind for kind in expected if kind == "base" or "/" in kind]
    return {kind: (closeness.differing(found[kind], expected[kind]), expected[kind].size) for kind in kinds}


def record(engine: str, shared: Path) -> dict[str, np.ndarray]:
    """``run``, and as ``own_change/<kind>`` how many labels change when weights and images are moved.

    Raises DataError if rounding decides too many.
    """
    arrays = run(engine, shared)
    change = differing(run(engine, shared, Mover(np.random.RandomState(0))), arrays)
    unstable = closeness.too_many(change)
    if unstable:
        raise DataError(f"unstable, moved by a rounding error's size: {'; '.join(unstable)}")
    return {**arrays, **{f"own_change/{kind}": np.array(counts) for kind, counts in change.items()}}


def main() -> int:
    """Record."""
    parser = argparse.ArgumentParser(description="Record what nearest-neighbour GP makes of MNIST's digits.")
    parser.add_argument("--engine", default="bvlc", choices=("bvlc", "torch"))
    parser.add_argument("--out", type=Path, default=RECORDING)
    options = parser.parse_args()
    shared = folders.SHARED_DATA
    if not shared.is_dir():
        print("record_classify: the real test data is not here (CAFFE_GP_SHARED_DATA); nothing recorded")
        return 0
    try:
        arrays = engines.run_guarded(record, options.engine, shared)
    except CaffeGPError as error:
        print(f"record_classify: {error}", file=sys.stderr)
        return error.exit_code
    options.out.parent.mkdir(parents=True, exist_ok=True)
    partial = options.out.with_name("." + options.out.name)
    with open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(partial, options.out)
    print(f"record_classify: {len(arrays)} arrays")
    return 0


if __name__ == "__main__":
    sys.exit(main())
