"""Trains with every solver type, leaves a snapshot half-way, and goes on from snapshots of another engine.

    tools/in_bvlc.sh python3 -m conformance.exchange bvlc write FOLDER
    python -m conformance.exchange embedded read FOLDER OUT

``write`` fills FOLDER with the snapshot files after 5 iterations and with what the parameters are after 10,
and with what an HDF5Output layer writes;
``read`` restores FOLDER's snapshots, trains to iteration 10 as well, and writes its parameters into OUT.
FOLDER is relative to the project, as the engines see different roots, and a snapshot holds the path of its
weights.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any, Callable

import numpy as np

from conformance import folders
from conformance.cases.solvers import TYPES

HALF, END = 5, 10
# Smooth: without a kink or a tie, rounding errors stay small on every processor.
NET = """
layer { name: "input" type: "Input" top: "data" top: "label"
        input_param { shape { dim: 3 dim: 2 dim: 6 dim: 5 } shape { dim: 3 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "constant" value: 0.1 } } }
layer { name: "tanh" type: "TanH" bottom: "conv" top: "conv" }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "ip" type: "InnerProduct" bottom: "bn" top: "score" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
OUTPUT = """
layer { name: "input" type: "Input" top: "data" top: "label"
        input_param { shape { dim: 3 dim: 2 dim: 6 dim: 5 } shape { dim: 3 dim: 1 } } }
layer { name: "output" type: "HDF5Output" bottom: "data" bottom: "label"
        hdf5_output_param { file_name: "%s" } include { phase: TEST } }
"""
FORMATS = {"BINARYPROTO": ".solverstate", "HDF5": ".solverstate.h5"}
CASES = [f"{kind}-{form}" for kind in TYPES for form in FORMATS]


def make_solver(caffe: Any, case: str, prefix: str) -> Any:
    """A fresh solver whose snapshots begin with ``prefix``; all its parameters are set from a fixed seed."""
    kind, form = case.split("-")
    with tempfile.TemporaryDirectory() as folder:
        net, solver = os.path.join(folder, "net.prototxt"), os.path.join(folder, "solver.prototxt")
        with open(net, "w") as file:
            file.write(NET)
        with open(solver, "w") as file:
            # 'multistep' keeps the number of steps that it has done in the snapshot.
            file.write(
                f'net: "{net}" type: "{kind}" {TYPES[kind]} base_lr: 0.05 weight_decay: 0.01 max_iter: 100 '
                f'lr_policy: "multistep" gamma: 0.7 stepvalue: 3 stepvalue: 7 '
                f'snapshot_format: {form} snapshot_prefix: "{prefix}"'
            )
        made = caffe.get_solver(solver)
    random = np.random.RandomState(7)
    for name, blobs in made.net.params.items():
        if name != "bn":
            for blob in blobs:
                blob.data[...] = random.randn(*blob.data.shape) * 0.5
    return made


def train(solver: Any, first: int, last: int) -> None:
    """Iterations ``first`` to ``last``, each on its own seeded batch."""
    for iteration in range(first, last):
        random = np.random.RandomState(iteration)
        solver.net.blobs["data"].data[...] = random.randn(*solver.net.blobs["data"].data.shape)
        solver.net.blobs["label"].data[...] = random.randint(0, 3, 3)
        solver.step(1)


def write_output(caffe: Any, path: str) -> None:
    """What an HDF5Output layer writes."""
    with tempfile.TemporaryDirectory() as folder:
        prototxt = os.path.join(folder, "net.prototxt")
        with open(prototxt, "w") as file:
            file.write(OUTPUT % path)
        net = caffe.Net(prototxt, caffe.TEST)
    for i, blob in enumerate(net.blobs.values()):
        blob.data[...] = np.random.RandomState(i).randn(*blob.data.shape)
    net.forward()
    del net, blob  # the layer closes its file when it goes


def parameters(net: Any) -> dict[str, Any]:
    return {
        f"{name} {i}": blob.data.copy() for name, blobs in net.params.items() for i, blob in enumerate(blobs)
    }


def write(caffe: Any, folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    for case in CASES:
        solver = make_solver(caffe, case, f"{folder}/{case}")
        train(solver, 0, HALF)
        solver.snapshot()
        train(solver, HALF, END)
        np.savez(os.path.join(folder, case + ".npz"), **parameters(solver.net))
    write_output(caffe, f"{folder}/output.h5")


def read(caffe: Any, folder: str, out: str) -> None:
    os.makedirs(out, exist_ok=True)
    for case in CASES:
        solver = make_solver(caffe, case, "unused")
        state = f"{folder}/{case}_iter_{HALF}{FORMATS[case.split('-')[1]]}"
        if not os.path.exists(state):  # the committed goldens hold some of the cases only
            continue
        solver.restore(state)
        train(solver, solver.iter, END)
        np.savez(os.path.join(out, case + ".npz"), **parameters(solver.net))


def main(arguments: list[str]) -> int:
    engine, action, paths = arguments[0], arguments[1], arguments[2:]
    os.chdir(str(folders.ROOT))
    if engine == "bvlc":
        import caffe
    else:
        import caffe_gp.caffe as caffe
    actions: dict[str, Callable[..., None]] = {"write": write, "read": read}
    actions[action](caffe, *paths)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
