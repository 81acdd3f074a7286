"""Table 4: time against gain, perturbing the input or an inner blob (section 5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import cells
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import INNER_GRID, ablation_only
from caffe_gp.report.experiment_report import Report, Row, Table, points

NAME, TITLE = "table4", "Table 4: perturbing inner blobs"
# FCN-32s: seconds and mean IU; a plain forward pass takes 0.12 s and gives 62.1.
PAPER = {"data": (0.33, 64.71), "pool2": (0.27, 64.61), "pool3": (0.24, 64.55), "pool4": (0.22, 64.3)}
PAPER_FORWARD = 0.12
DEVIATION_IMAGES = 8  # that an inner blob's standard deviation is taken over

nets = ablation_only


def run(bench: Bench) -> Report:
    """One row a blob of the suite's net for ablations."""
    (net,) = nets(bench.suite)
    header = ["blob", "mean IU", "gain", "eps", "seconds", "/ forward"]
    paper = bench.suite.paper
    table = Table(f"{TITLE}, {net.title}", header + (["paper: mean IU", "/ forward"] if paper else []))
    numbers: dict[str, Any] = {}
    runs = []
    deviations = bench.deviations(net, net.inner, DEVIATION_IMAGES)
    for blob in ("data", *net.inner):
        if blob == "data":
            tuned = bench.gp(net)
        else:
            tuned = bench.tune(net, inner_grid(deviations[blob]), blob=blob)
        runs.append(tuned.run)
        gain = cells.gain_of(tuned)
        seconds = _seconds(tuned.run)
        numbers[blob] = {
            "gp": cells.measures(tuned.run, tuned.matrices),
            "gain": gain.points(),
            "eps": tuned.eps,
            "eps_from": tuned.source,
            "standard_deviation": deviations.get(blob),
            "seconds": seconds,
        }
        row: Row = [blob, cells.iu(tuned.matrices), cells.gain_text(gain), tuned.text()]
        row += [f"{seconds['gp']:.3f}", f"{seconds['gp'] / seconds['forward']:.2f}"]
        if paper:
            paper_seconds, paper_iu = PAPER[blob]
            row[1] = cells.judged(mean_iu(tuned.matrices), paper_iu)
            row += [f"{paper_iu:.2f}", f"{paper_seconds / PAPER_FORWARD:.2f}"]
        table.add(*row)
        if blob == "data":
            base = tuned.base
    table.note = (
        f"Base {points(mean_iu(base))}. Seconds are medians per image of one guided perturbation: a forward "
        "pass, a backward pass to the blob, and a forward pass from it. eps of inner blobs: "
        f"{tuned.source}, among shares {', '.join(map(str, INNER_GRID))} of the blob's standard deviation."
    )
    return cells.report(
        bench,
        NAME,
        TITLE,
        [net],
        runs,
        [table],
        numbers={"net": net.name, "blobs": numbers},
    )


def _seconds(run: Any) -> dict[str, float]:
    """Medians over the images of a forward pass and of one guided perturbation."""
    passes = {kind: float(np.median(run.seconds[kind])) for kind in ("forward", "backward")}
    again = float(np.median(run.seconds["forward_perturbed"])) / len(run.eps)
    return {**passes, "forward_perturbed": again, "gp": sum(passes.values()) + again}


def inner_grid(deviation: float) -> list[float]:
    """The steps that are tried at an inner blob of this standard deviation, two significant digits each."""
    return [float(f"{share * deviation:.2g}") for share in INNER_GRID]
