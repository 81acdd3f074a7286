"""Table 4: time against gain, perturbing the input or an inner blob (section 5)."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from caffe_gp.evaluation.bootstrap import Gain
from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import cells
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import INNER_GRID, ablation_only
from caffe_gp.report import colours, figures
from caffe_gp.report.claims import Claim, Verdict
from caffe_gp.report.experiment_report import Figure, Report, Row, Table, points, signed

NAME, TITLE = "table4", "Table 4: perturbing inner blobs"
# FCN-32s: seconds and mean IU; a plain forward pass takes 0.12 s and gives 62.1.
PAPER = {"data": (0.33, 64.71), "pool2": (0.27, 64.61), "pool3": (0.24, 64.55), "pool4": (0.22, 64.3)}
PAPER_FORWARD, PAPER_BASE = 0.12, 62.1
DEVIATION_IMAGES = 8  # that an inner blob's standard deviation is taken over

nets = ablation_only


def run(bench: Bench) -> Report:
    """One row a blob of the suite's net for ablations."""
    (net,) = nets(bench.suite)
    header = ["blob", "mean IU (%)", *cells.GAIN, "eps", "time (s)", "time / forward"]
    paper = bench.suite.paper
    table = Table(
        f"{TITLE}, {net.title}", header + (["paper: mean IU (%)", "paper: time / forward"] if paper else [])
    )
    numbers: dict[str, Any] = {}
    runs, gains = [], []
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
        gains.append(gain)
        row: Row = [blob, cells.iu(tuned.matrices), *cells.gain_cells(gain), tuned.text()]
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
    times = [found["seconds"]["gp"] / found["seconds"]["forward"] for found in numbers.values()]
    figures.save(_draw(list(numbers), gains, times), bench.out / NAME, NAME, figures.CURVES)
    return cells.report(
        bench,
        NAME,
        TITLE,
        [net],
        runs,
        [_claim(list(numbers), gains, times)],
        [table],
        [Figure(NAME, "Gain over time, ours and the paper's FCN-32s: left is faster, up is better.")],
        {"net": net.name, "blobs": numbers},
    )


def _claim(blobs: Sequence[str], gains: Sequence[Gain], times: Sequence[float]) -> Claim:
    """``times``: of one guided perturbation over a forward pass; the input first, the deepest blob last."""
    kept, faster = gains[-1].gain >= 0.8 * gains[0].gain > 0, times[-1] < times[0]
    helps = gains[-1].low > 0 and faster
    return Claim(
        "Perturbing an inner blob takes less time and keeps almost the whole gain.",
        "Table 4",
        "gain (points) and time over a forward pass, at the input and at the deepest blob",
        "+2.6 at 2.8 x, +2.2 at 1.8 x",
        f"{signed(gains[0].gain)} at {times[0]:.1f} x, {signed(gains[-1].gain)} at {times[-1]:.1f} x "
        f"({blobs[-1]})",
        Verdict.HOLDS if helps and kept else Verdict.WEAKLY if helps else Verdict.NOT,
        "Holds: the deepest blob is faster, its 95 % interval lies above 0, and it keeps four fifths of the "
        "input's gain. Weakly: it does not keep that much.",
    )


def _draw(blobs: Sequence[str], gains: Sequence[Gain], times: Sequence[float]) -> Any:
    paper = {blob: (seconds / PAPER_FORWARD, value - PAPER_BASE) for blob, (seconds, value) in PAPER.items()}
    ours = [100 * gain.gain for gain in gains]
    errors = [[100 * (g.gain - g.low) for g in gains], [100 * (g.high - g.gain) for g in gains]]
    with figures.style():
        figure = figures.new(3.0, figures.PLOT)
        axes = figure.add_subplot(1, 1, 1)
        figures.curves_axes(axes, "time / forward pass", "gain in mean IU (points)")
        axes.axhline(0, color=colours.GREY, linewidth=0.6)
        axes.errorbar(
            times, ours, errors, fmt="o-", color=colours.OURS, capsize=2, label="ours, 95 % interval"
        )
        axes.plot(*zip(*paper.values()), "s--", color=colours.PAPER, label="paper, FCN-32s")
        named = [(dict(zip(blobs, zip(times, ours))), (4, 5), colours.OURS), (paper, (4, -9), colours.PAPER)]
        for points_of, shift, colour in named:
            for blob, place in points_of.items():
                look = {"textcoords": "offset points", "fontsize": figures.SMALL, "color": colour}
                axes.annotate(blob, place, shift, **look)
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2)
        figure.tight_layout()
    return figure


def _seconds(run: Any) -> dict[str, float]:
    """Medians over the images of a forward pass and of one guided perturbation."""
    passes = {kind: float(np.median(run.seconds[kind])) for kind in ("forward", "backward")}
    again = float(np.median(run.seconds["forward_perturbed"])) / len(run.eps)
    return {**passes, "forward_perturbed": again, "gp": sum(passes.values()) + again}


def inner_grid(deviation: float) -> list[float]:
    """The steps that are tried at an inner blob of this standard deviation, two significant digits each."""
    return [float(f"{share * deviation:.2g}") for share in INNER_GRID]
