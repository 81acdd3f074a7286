"""Runs a case on an engine: ``caffe`` is BVLC Caffe's module or the embedded one."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any, Sequence

import numpy as np

from conformance import case_files
from conformance.case import Case
from conformance.values import default_param, values


class Run:
    """One run of a case.

    arrays     '<record>/data/<blob>', '/diff/<blob>', '/param/<layer>/<index>', '/param_diff/...' -> array
    structure  what the net looks like from outside
    """

    def __init__(self, caffe: Any, case: Case, folder: str) -> None:
        self.caffe, self.case, self.folder = caffe, case, folder
        self.arrays: dict[str, np.ndarray] = OrderedDict()
        self.structure: dict[str, Any] = {}
        self.round = self.records = self.seeds = 0
        self.solver: Any = None
        self.backward_ran = bool(case.solver)  # before, a diff is memory that some layers scribble in
        if case.files:
            getattr(case_files, case.files)(folder)
        self.net = self._make_net()
        self._fill_params()
        self.do_refill()
        self._describe()

    def _make_net(self) -> Any:
        """The net, and its solver if there is one."""
        path = self._write("net.prototxt", self.case.text)
        if not self.case.solver:
            return self.caffe.Net(path, self.case.phase)
        files = f'\nnet: "{path}"\nsnapshot_prefix: "{self.folder}/snap"\n'
        self.solver = self.caffe.get_solver(self._write("solver.prototxt", self.case.solver + files))
        return self.solver.net

    def _write(self, name: str, text: str) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text.replace("$DIR", self.folder))
        return path

    def values(self, scheme: str, shape: Sequence[int], what: str) -> np.ndarray:
        """Values by scheme, for one purpose."""
        return values(scheme, shape, self.case.random(what))

    def _fill_params(self) -> None:
        types = {name: layer.type for name, layer in zip(self.net._layer_names, self.net.layers)}
        for name, blobs in self.net.params.items():
            schemes = self.case.params.get(name)
            for i, blob in enumerate(blobs):
                shape = blob.data.shape
                scheme = schemes[i] if schemes else default_param(types[name], i, shape)
                if scheme != "keep":
                    blob.data[...] = self.values(scheme, shape, "param %s %d" % (name, i))

    def _describe(self) -> None:
        net = self.net
        self.structure = {
            "blobs": {name: list(blob.data.shape) for name, blob in net.blobs.items()},
            "layers": [[name, layer.type] for name, layer in zip(net._layer_names, net.layers)],
            "inputs": list(net.inputs),
            "outputs": list(net.outputs),
            "tops": {name: list(tops) for name, tops in net.top_names.items()},
            "bottoms": {name: list(bottoms) for name, bottoms in net.bottom_names.items()},
            "params": {name: [list(blob.data.shape) for blob in blobs] for name, blobs in net.params.items()},
            "loss_weights": {name: float(weight) for name, weight in net.blob_loss_weights.items()},
        }

    def run(self) -> Run:
        for step in self.case.steps:
            getattr(self, "do_" + step[0])(*step[1:])
        return self

    # ---- steps

    def do_refill(self) -> None:
        """New values for the inputs."""
        for name, scheme in self.case.inputs.items():
            self.do_fill(name, scheme)
        self.round += 1

    def do_fill(self, blob: str, scheme: str) -> None:
        data = self.net.blobs[blob].data
        data[...] = self.values(scheme, data.shape, "input %s %d" % (blob, self.round))

    def do_forward(self, start: str | None = None, end: str | None = None) -> None:
        self.net.forward(start=start, end=end)

    def do_seed(self, *blobs: str) -> None:
        """Random diffs for these blobs; without names for every output that is no loss."""
        weights = self.net.blob_loss_weights
        for name in blobs or [name for name in self.net.outputs if not weights[name]]:
            diff = self.net.blobs[name].diff
            diff[...] = self.values("gauss", diff.shape, "diff %s %d" % (name, self.seeds))
        self.seeds += 1

    def do_backward(self, start: str | None = None, end: str | None = None) -> None:
        self.net.backward(start=start, end=end)
        self.backward_ran = True

    def do_edit(self, blob: str) -> None:
        """A perturbation of a blob's data: a small step along random signs, as GP makes it."""
        data = self.net.blobs[blob].data
        data[...] += np.float32(0.25) * np.sign(self.values("gauss", data.shape, "edit " + blob))

    def do_reshape(self, blob: str, *shape: int) -> None:
        self.net.blobs[blob].reshape(*shape)

    def do_net_reshape(self) -> None:
        self.net.reshape()

    def do_clear_param_diffs(self) -> None:
        self.net.clear_param_diffs()

    def do_set_input_arrays(self, *schemes_and_shapes: Any) -> None:
        """MemoryData's arrays: (data scheme, shape, label scheme, shape)."""
        data, data_shape, labels, labels_shape = schemes_and_shapes
        self.memory = (
            self.values(data, data_shape, "memory data"),
            self.values(labels, labels_shape, "memory labels"),
        )
        self.net.set_input_arrays(*self.memory)

    def do_step(self, count: int) -> None:
        """Solver iterations, each on new inputs."""
        for _ in range(count):
            self.solver.step(1)
            self.do_refill()

    def do_snapshot(self) -> None:
        self.solver.snapshot()

    def do_restore(self, name: str) -> None:
        """A new solver goes on from a snapshot file."""
        self.solver.restore(os.path.join(self.folder, name))

    def do_save_load(self, *names: str) -> None:
        """Weights to a file of each format and back, into a net whose parameters were overwritten."""
        for name in names:
            path = os.path.join(self.folder, name)
            hdf5 = name.endswith(".h5")
            (self.net.save_hdf5 if hdf5 else self.net.save)(path)
            for blobs in self.net.params.values():
                for blob in blobs:
                    blob.data[...] = -7
            (self.net.load_hdf5 if hdf5 else self.net.copy_from)(path)

    def do_record(self) -> None:
        """Every blob and parameter as they are now, and their diffs once a backward has run."""
        for name, blob in self.net.blobs.items():
            self._keep("data/" + name, blob.data)
            if self.backward_ran:
                self._keep("diff/" + name, blob.diff)
        for name, blobs in self.net.params.items():
            for i, blob in enumerate(blobs):
                self._keep("param/%s/%d" % (name, i), blob.data)
                if self.backward_ran:
                    self._keep("param_diff/%s/%d" % (name, i), blob.diff)
        self.records += 1

    def _keep(self, key: str, array: np.ndarray) -> None:
        if key not in self.case.skip:
            self.arrays["%d/%s" % (self.records, key)] = np.array(array, np.float32)
