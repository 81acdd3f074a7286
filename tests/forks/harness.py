"""The same net on the embedded Caffe and on OpenCV 4's dnn module.

A case in a test takes the fixture ``opencv`` (conftest.py) and a line:

    agrees(opencv, 'type: "Permute" permute_param { order: 0 order: 2 }', RNG.randn(2, 3, 4))

Nets of several layers go through ``both``.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

import caffe_gp.caffe as caffe
from caffe_gp import proto
from conformance import opencv

WORKER = Path(__file__).with_name("opencv_worker.py")


class OpenCVError(Exception):
    """What OpenCV says of a net that it does not run."""


class OpenCV:
    """OpenCV 4 in a process of its own, which runs one net after the other; ``folder`` is for its files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._process = subprocess.Popen(
            [str(opencv.PYTHON), str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={},  # the environment's own packages, whatever PYTHONPATH is here
        )

    def forward(
        self,
        prototxt: str,
        inputs: Mapping[str, Any],
        layers: Sequence[str],
        caffemodel: Path | None = None,
    ) -> dict[str, list[np.ndarray]]:
        """The tops of these layers, after a forward with these inputs."""
        assert self._process.stdin is not None and self._process.stdout is not None
        folder = self.new_path("net")
        folder.mkdir()
        (folder / "net.prototxt").write_text(prototxt)
        if caffemodel is not None:
            (folder / "net.caffemodel").symlink_to(caffemodel)
        arrays: dict[str, Any] = {name: np.asarray(array, np.float32) for name, array in inputs.items()}
        np.savez(str(folder / "inputs.npz"), **arrays)
        (folder / "layers.txt").write_text("\n".join(layers))
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().strip()
        if said != "done":
            raise OpenCVError(said or "its process has ended")
        with np.load(str(folder / "outputs.npz")) as found:
            return {
                name: [found[key] for key in found.files if key.rpartition(":")[0] == name] for name in layers
            }

    def new_path(self, name: str) -> Path:
        """Of a file or folder that is not there yet."""
        self._number += 1
        return self._folder / f"{self._number}_{name}"

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def net_of(layer: str, shapes: Sequence[Sequence[int]], tops: int = 1) -> str:
    """Prototxt of Input layers ``x0``, ``x1``, ... and one layer, ``layer``, on them."""
    text = ""
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    blobs = [f'bottom: "x{i}"' for i in range(len(shapes))] + [f'top: "y{i}"' for i in range(tops)]
    return f'{text}layer {{ name: "layer" {" ".join(blobs)} {layer} }}'


def both(
    opencv: OpenCV,
    prototxt: str,
    inputs: Mapping[str, Any],
    layers: Sequence[str],
    params: Mapping[str, Sequence[Any]] | None = None,
    caffemodel: Path | None = None,
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """(ours, OpenCV's) of every top of these ``layers``.

    params       values of parameters, by layer
    caffemodel   or a file that has them
    """
    net = net_with(prototxt, params or {}, caffemodel)
    for name, array in inputs.items():
        net.blobs[name].data[...] = array
    net.forward()
    if params:
        caffemodel = opencv.new_path("weights.caffemodel")
        net.save(str(caffemodel))
    theirs = opencv.forward(prototxt, inputs, layers, caffemodel)
    return {
        name: [(net.blobs[top].data.copy(), array) for top, array in zip(net.top_names[name], theirs[name])]
        for name in layers
    }


def net_with(prototxt: str, params: Mapping[str, Sequence[Any]], caffemodel: Path | None = None) -> Any:
    """The embedded Caffe's net of a prototxt's text, with these parameters."""
    net = caffe.Net.from_param(proto.parse_net_param(prototxt), caffe.TEST)
    if caffemodel is not None:
        net.copy_from(str(caffemodel))
    for name, arrays in params.items():
        for blob, array in zip(net.params[name], arrays):
            blob.data[...] = array
    return net


def agrees(
    opencv: OpenCV,
    layer: str,
    *inputs: Any,
    tolerance: float = 0.0,
    params: Sequence[Any] = (),
    tops: int = 1,
) -> list[np.ndarray]:
    """Assert that a layer's tops are OpenCV's, up to ``tolerance`` times the largest value; the tops."""
    pairs = both(
        opencv,
        net_of(layer, [np.shape(array) for array in inputs], tops),
        {f"x{i}": array for i, array in enumerate(inputs)},
        ["layer"],
        {"layer": params} if params else None,
    )["layer"]
    assert len(pairs) == tops
    for ours, theirs in pairs:
        close(ours, theirs, tolerance)
    return [ours for ours, _ in pairs]


def close(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 0.0) -> None:
    """Assert equal shapes, and values up to ``tolerance`` times the largest."""
    assert ours.shape == theirs.shape
    if ours.size:
        assert np.isfinite(ours).all()
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()
