"""The exported files beside the embedded Caffe: both compute the same, at two shapes where they can."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from caffe_gp.errors import CaffeGPError
from caffe_gp.export import child
from caffe_gp.export.source import Source

OPSET = 18
LIMIT = 1e-4  # of the relative error
NOISE = 50.0  # deviation of the examples, in grey levels
_LARGER = 32  # the second example, in pixels
_LAST_LINES = 4  # of a failed process's words


@dataclass
class Examples:
    """Inputs, and what the embedded Caffe makes of them.

    inputs     of each example an array for each input
    expected   of each an array for each output, then those that lead to ``Source.scores``
    free       axes of the inputs that differ between the examples, and what they are: N, H, W
    """

    inputs: list[list[np.ndarray]]
    expected: list[list[np.ndarray]]
    free: dict[int, str]


def examples_of(net: Any, source: Source, first: list[np.ndarray], scale: float) -> Examples:
    """``first``, and a second one of another shape if the net has one input and takes it so."""
    found = Examples([first], [_computed(net, source, first)], {})
    for axes in ({0: "N", 2: "H", 3: "W"}, {0: "N"}, {2: "H", 3: "W"}):
        if len(first) > 1 or max(axes) >= first[0].ndim or source.fixed.intersection(axes):
            continue
        shape = tuple(
            n + (1 if i == 0 else _LARGER) if i in axes else n for i, n in enumerate(first[0].shape)
        )
        values = [noise(shape, scale, seed=1)]
        try:
            expected = _computed(net, source, values)
        except CaffeGPError:  # not of this shape
            continue
        return Examples([first, values], [found.expected[0], expected], axes)
    return found


def noise(shape: Sequence[int], scale: float, seed: int = 0) -> np.ndarray:
    """Images that are the same in every run."""
    values = np.random.RandomState(seed).standard_normal(tuple(shape))
    return (NOISE * scale * values).astype(np.float32)


def _computed(net: Any, source: Source, values: list[np.ndarray]) -> list[np.ndarray]:
    for blob, array in zip(source.inputs, values):
        net.blobs[blob].reshape(*array.shape)
    net.reshape()
    for blob, array in zip(source.inputs, values):
        net.blobs[blob].copy_data(array)
    net.forward()
    return [net.blobs[blob].data.copy() for blob in (*source.outputs, *source.scores.values())]


def run_and_compare(folder: Path, source: Source, examples: Examples, onnx: bool) -> dict[str, float]:
    """Errors of net.py in ``folder``, and of net.onnx, which is written there: see ``error``.

    Raises CaffeGPError where a run fails, or an error is above LIMIT.
    """
    results = {"torch": _run_torch(folder, source, examples, "net.onnx" if onnx else "")}
    if onnx:
        results["onnx"] = _run_onnx(folder / "net.onnx", source, examples)
    names = [*source.outputs, *source.scores.values()]
    errors = {}
    for kind, found in results.items():
        each = [
            (error(one, other), name)
            for expected, computed in zip(examples.expected, found)
            for one, other, name in zip(expected, computed, names)
        ]
        errors[kind], name = max(each)
        if not errors[kind] <= LIMIT:
            raise CaffeGPError(
                f"blob '{name}' of the exported net ({kind}) differs from the embedded Caffe's by "
                f"{errors[kind]:.2g} of its largest value, expected at most {LIMIT:g}; nothing is written"
            )
    return errors


def _run_torch(folder: Path, source: Source, examples: Examples, onnx: str) -> list[list[np.ndarray]]:
    """What the exported file computes in a process without caffe_gp, which then writes the ONNX file."""
    import torch

    for i, values in enumerate(examples.inputs):
        _save(folder / f"in{i}.npz", values)
    job = {
        "examples": len(examples.inputs),
        "scores": list(source.scores),
        "onnx": onnx,
        "opset": OPSET,
        "axes": _axes(source, examples),
        "threads": torch.get_num_threads(),
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [sys.executable, str(child.__file__), str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise CaffeGPError(
            "the exported net fails where the embedded Caffe does not; nothing is written:",
            *done.stderr.strip().splitlines()[-_LAST_LINES:],
        )
    return [_loaded(folder / f"out{i}.npz") for i in range(len(examples.inputs))]


def _axes(source: Source, examples: Examples) -> dict[str, dict[int, str]]:
    """For ONNX: the axes of inputs and outputs that are of any size, with names."""
    axes = dict.fromkeys(source.inputs, examples.free)
    if examples.free:
        for name, one, other in zip(source.outputs, *examples.expected):
            changed = [i for i, sizes in enumerate(zip(one.shape, other.shape)) if len(set(sizes)) > 1]
            axes[name] = {i: "N" if i == 0 and 0 in examples.free else f"{name}_{i}" for i in changed}
    return axes


def _run_onnx(path: Path, source: Source, examples: Examples) -> list[list[np.ndarray]]:
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(path))
    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    held = {one.name for one in session.get_inputs()}  # without those whose values do not matter
    return [
        session.run(None, {name: array for name, array in zip(source.inputs, values) if name in held})
        for values in examples.inputs
    ]


def error(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference, relative to the largest value; infinite where shapes, or NaNs, differ."""
    if expected.shape != found.shape or not np.array_equal(np.isnan(expected), np.isnan(found)):
        return float("inf")
    same = (expected == found) | np.isnan(expected)
    difference = np.abs(expected[~same].astype(np.float64) - found[~same]).max(initial=0.0)
    largest = float(np.abs(expected[~np.isnan(expected)]).max(initial=0.0))
    return float(difference / largest if largest > 0 else difference)


def _save(path: Path, arrays: Sequence[np.ndarray]) -> None:
    values: dict[str, Any] = {f"a{i}": array for i, array in enumerate(arrays)}
    np.savez(path, **values)


def _loaded(path: Path) -> list[np.ndarray]:
    with np.load(path) as held:
        return [held[f"a{i}"] for i in range(len(held.files))]
