"""Runs a case on the embedded Caffe and holds it against its recording."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from typing import Any, Mapping

import numpy as np

from caffe_gp.errors import CaffeGPError
from conformance.case import Case
from conformance.closeness import BACKWARD_LIMIT, FORWARD_LIMIT, relative_error
from conformance.goldens import sample
from conformance.run_case import Run

# Below this a blob counts as rounding noise around zero: errors are relative to at least this much.
FLOOR = 1e-3
Arrays = Mapping[str, np.ndarray]


@dataclass
class Outcome:
    """What comparing one case gave: largest errors, labels that differ, and what is outside the limits."""

    forward: float = 0.0
    backward: float = 0.0
    labels: int = 0
    problems: list[str] = field(default_factory=list)


def compare_case(caffe: Any, case: Case, recorded: dict[str, Any]) -> Outcome:
    """Run ``case`` on ``caffe``, the embedded one, and compare it with what BVLC Caffe did."""
    outcome = Outcome()
    case = replace(case, seed=recorded.get("seed", 0))
    if recorded["fingerprint"] != case.fingerprint:
        outcome.problems.append("the recording is of an older version of this case: run 'make test-bvlc'")
        return outcome
    run, error = None, None
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = Run(caffe, case, folder).run()
        except CaffeGPError as caught:
            error = caught
        except Exception as crash:
            outcome.problems.append(f"the embedded Caffe crashes: {crash!r}")
            return outcome
    if "error" in recorded:
        if run is not None and case.ours != "accepts":
            outcome.problems.append(
                "BVLC Caffe refuses this ({}), the embedded Caffe accepts it".format(recorded["error"])
            )
    elif run is None:
        if case.ours != "refuses":
            outcome.problems.append(f"BVLC Caffe accepts this, the embedded Caffe says: {error}")
    else:
        for key, theirs in recorded["structure"].items():
            if run.structure[key] != theirs:
                outcome.problems.append(f"{key}: expected {theirs}, found {run.structure[key]}")
        arrays = run.arrays
        if recorded.get("sampled"):
            arrays = {key: sample(array) for key, array in arrays.items() if key in recorded["arrays"]}
        compare_arrays(arrays, recorded["arrays"], outcome)
    return outcome


def compare_arrays(ours: Arrays, theirs: Arrays, outcome: Outcome, factor: float = 1) -> None:
    """Compare what two runs of a case recorded; so many times the limits are allowed."""
    # A bias' diff is a sum whose terms may cancel to nothing (below a Softmax, say), so the diffs of a
    # layer's parameters are measured against the largest of them.
    largest: dict[str, float] = {}
    for key, array in theirs.items():
        if "/param_diff/" in key and array.size and np.isfinite(array).all():
            of_layer = key.rsplit("/", 1)[0]
            largest[of_layer] = max(largest.get(of_layer, FLOOR), float(np.abs(array).max()))
    for key in list(theirs) + [key for key in ours if key not in theirs]:
        least = largest.get(key.rsplit("/", 1)[0], FLOOR)
        _compare_array(key, ours.get(key), theirs.get(key), least, outcome, factor)


def _error(ours: np.ndarray, theirs: np.ndarray, least: float) -> float:
    """The relative error, where infinities and NaNs at the same places count as equal."""
    finite = np.isfinite(theirs)
    if not np.array_equal(finite, np.isfinite(ours)) or not np.array_equal(
        ours[~finite], theirs[~finite], equal_nan=True
    ):
        return float("inf")
    return relative_error(ours[finite], theirs[finite], least)


def _compare_array(
    key: str,
    ours: np.ndarray | None,
    theirs: np.ndarray | None,
    least: float,
    outcome: Outcome,
    factor: float,
) -> None:
    if ours is None or theirs is None or ours.shape != theirs.shape:
        outcome.problems.append(
            "{}: expected {}, found {}".format(
                key, "nothing" if theirs is None else theirs.shape, "nothing" if ours is None else ours.shape
            )
        )
        return
    error = _error(ours, theirs, least)
    if "/diff/" in key or "/param_diff/" in key:
        outcome.backward, limit = max(outcome.backward, error), BACKWARD_LIMIT
    else:
        outcome.forward, limit = max(outcome.forward, error), FORWARD_LIMIT
    if not error <= factor * limit:
        outcome.problems.append(f"{key}: relative error {error:.2e}, limit {factor * limit:.0e}")
    blob = key.split("/")[-1]
    if "/data/" in key and blob in ("score", "prob") and ours.ndim > 1:  # the label map
        different = int((ours.argmax(1) != theirs.argmax(1)).sum())
        outcome.labels = max(outcome.labels, different)
        if different:
            outcome.problems.append(f"{key}: {different} labels differ")
