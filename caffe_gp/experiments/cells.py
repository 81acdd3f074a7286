"""What the tables have in common: cells, warnings, provenance."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from caffe_gp.evaluation.bootstrap import Gain, paired_gain
from caffe_gp.evaluation.segmentation import RunResults
from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments.bench import Bench, Tuned
from caffe_gp.experiments.suites import Net
from caffe_gp.report.claims import Claim
from caffe_gp.report.experiment_report import (
    Cell,
    Figure,
    Report,
    Row,
    Table,
    interval,
    joined,
    points,
    signed,
    within,
)

# How far a reproduced number may lie from the paper's, in percentage points.
BAND = 0.3
# From an experiment's page to that of its suite.
INDEX = "../index.html"
# Heads of a gain's cells.
GAIN = ["gain (points)", "95 % interval (points)"]
JUDGED = "✓ and ✗: within 0.3 points of the paper, or not."


def gain_of(tuned: Tuned) -> Gain:
    """The gain of a guided perturbation with its bootstrap interval."""
    return paired_gain(tuned.base, tuned.matrices)


def gain_text(gain: Gain) -> str:
    """'+2.61 (+1.90 to +3.40)': points with the 95 % interval, for sentences."""
    return f"{signed(gain.gain)} ({interval(gain.low, gain.high)})"


def gain_cells(gain: Gain) -> Row:
    """A gain's cells of a table, under the heads GAIN."""
    return [signed(gain.gain), interval(gain.low, gain.high)]


def judged(found: float, paper: float) -> Cell:
    """A fraction beside the paper's percentage points: GOOD within BAND of it, else BAD."""
    return Cell(points(found), within(100 * found, paper, BAND))


def judged_gain(gain: Gain, paper: float) -> Row:
    """``gain_cells`` beside the paper's gain: GOOD within BAND of it, else BAD."""
    return [Cell(signed(gain.gain), within(100 * gain.gain, paper, BAND)), interval(gain.low, gain.high)]


def measures(run: RunResults, matrices: np.ndarray) -> dict[str, Any]:
    """Mean IU, accuracies and the classes' IU of per-image matrices, in percent."""
    found = {}
    for name, value in run.measures(matrices).items():
        if isinstance(value, list):
            found[name] = [None if item is None else 100 * item for item in value]
        else:
            found[name] = value if name == "pixels" else 100 * value
    return found


def iu(matrices: np.ndarray) -> str:
    """Mean IU of per-image matrices, in points."""
    return points(mean_iu(matrices))


def introduction(bench: Bench) -> list[str]:
    """Which images and nets, and what the interval is."""
    data = bench.data()
    return [
        f"{bench.suite.title[0].upper()}{bench.suite.title[1:]}, on {len(data.ids)} images of {data.name}. "
        "Mean IU in percent from one confusion matrix over all images. Intervals hold 95 % of a paired "
        "bootstrap over images.",
    ]


def warnings(bench: Bench, nets: Sequence[Net]) -> list[str]:
    """What a reader must not overlook about the images, and about the weights of these nets."""
    found = []
    data = bench.data()
    if bench.suite.paper and len(data.ids) != 346:
        found.append(f"Only {len(data.ids)} of the 346 images: these are not the paper's numbers.")
    stand_ins = [net.name for net in nets if net.stand_in]
    if stand_ins:
        found.append(f"Stand-in weights, not the released ones: every number of {joined(stand_ins)}.")
    return found


def provenance(bench: Bench, runs: Iterable[RunResults]) -> dict[str, Any]:
    """Where the numbers of a report come from: the command and the origin of every run behind it."""
    origins = {}
    for run in runs:
        origins[run.folder.name] = run.origin
    return {"command": bench.command, "suite": bench.suite.name, "runs": origins}


def report(
    bench: Bench,
    name: str,
    title: str,
    nets: Sequence[Net],
    runs: Iterable[RunResults],
    claims: Sequence[Claim],
    tables: list[Table],
    figures: Sequence[Figure] = (),
    numbers: Mapping[str, Any] | None = None,
) -> Report:
    """An experiment's report, with what every one says of its images and nets, and of the runs behind it."""
    return Report(
        name,
        title,
        list(claims),
        introduction(bench),
        warnings(bench, nets),
        tables,
        list(figures),
        numbers=dict(numbers or {}),
        provenance=provenance(bench, runs),
        up=INDEX,
    )
