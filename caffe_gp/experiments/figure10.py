"""Figure 10: mean IU over the step eps (section 5)."""

from __future__ import annotations

from typing import Any, Sequence

from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import cells, chosen_images
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Verdict
from caffe_gp.report.colours import GREY, OURS
from caffe_gp.report.colours import PAPER as PAPER_COLOUR
from caffe_gp.report.experiment_report import Figure, Report, Table, points

NAME, TITLE = "figure10", "Figure 10: the step eps"
# Gains in points at the paper's steps (table 1).
PAPER = {"fcn-32s": 2.61, "fcn-8s": 3.0}


def nets(suite: Suite) -> Sequence[Net]:
    """The first two: the paper's FCN-32s and FCN-8s."""
    return suite.nets[:2]


def run(bench: Bench) -> Report:
    """A curve a net over its whole grid, with the bootstrap's band."""
    chosen = nets(bench.suite)
    numbers, runs, tables = {}, [], []
    with figures.style():
        figure = figures.new(3.4 * len(chosen), figures.PLOT)
        for place, net in enumerate(chosen, 1):
            sweep = bench.run(net, net.grid)
            runs.append(sweep)
            base, gains = mean_iu(sweep.base), [sweep.gain(eps) for eps in sweep.eps]
            table = Table(net.title, ["eps", "mean IU (%)", *cells.GAIN])
            table.add("0 (base)", points(base), "", "")
            for eps, gain in zip(sweep.eps, gains):
                table.add(f"{eps:g}", points(base + gain.gain), *cells.gain_cells(gain))
            tables.append(table)
            numbers[net.name] = {
                "base": 100 * base,
                "eps": sweep.eps,
                "mean_iu": [100 * (base + gain.gain) for gain in gains],
                "gain": [gain.points() for gain in gains],
                "paper_eps": net.eps,
            }
            axes = figure.add_subplot(len(chosen), 1, place)
            _draw(axes, net, numbers[net.name])
        figure.tight_layout()
    figures.save(figure, bench.out / NAME, NAME, figures.CURVES)
    return cells.report(
        bench,
        NAME,
        TITLE,
        chosen,
        runs,
        [_claim(numbers)],
        tables,
        [
            Figure(
                NAME,
                "Mean IU after one guided perturbation of the input, over its step; the dashed line is the "
                "base, the ring the best step, the dotted line the paper's gain (its curves are only "
                "printed). The band holds the gain over the base in 95 % of a paired bootstrap over images.",
            )
        ],
        {"nets": numbers},
    )


def _claim(numbers: dict[str, Any]) -> Claim:
    helping, least = [], 1.0
    for found in numbers.values():
        positive = [gain["gain"] > 0 for gain in found["gain"]]
        least = min(least, sum(positive) / len(positive))
        steps = [eps for eps, helps in zip(found["eps"], positive) if helps]
        span = f", {min(steps):g} to {max(steps):g}" if steps else ""
        helping.append(f"{sum(positive)} of {len(positive)} steps{span}")
    return Claim(
        "A wide range of steps eps improves the result: the net is not very sensitive to it.",
        "Section 5, Figure 10",
        "steps tried that raise the mean IU, net by net",
        "shown, no value",
        "; ".join(helping),
        Verdict.HOLDS if least >= 0.75 else Verdict.WEAKLY if least >= 0.5 else Verdict.NOT,
        "Holds: three quarters of the steps tried help. Weakly: half of them.",
    )


def _draw(axes: Any, net: Net, found: dict[str, Any]) -> None:
    figures.curves_axes(axes, "eps (units of the input)", "mean IU (%)", net.title)
    base = found["base"]
    x, y = chosen_images.with_base(found["eps"], found["mean_iu"], base)
    low, high = (
        chosen_images.with_base(found["eps"], [base + gain[side] for gain in found["gain"]], base)[1]
        for side in ("low", "high")
    )
    axes.fill_between(x, low, high, color=OURS, alpha=0.18, linewidth=0)
    axes.axhline(base, color=GREY, linestyle="--", linewidth=0.9, label=f"base {base:.2f}")
    axes.plot(x, y, "o-", color=OURS, label="base + GP")
    best = PAPER.get(net.name, PAPER["fcn-32s"])
    axes.axhline(base + best, color=PAPER_COLOUR, linestyle=":", label=f"paper's gain {best:+.2f}")
    top = max(range(len(y)), key=y.__getitem__)
    look = {"markersize": 8, "markerfacecolor": "none", "markeredgecolor": "black", "linestyle": "none"}
    axes.plot([x[top]], [y[top]], "o", label=f"best: {y[top]:.2f} at eps {x[top]:g}", **look)
    if net.eps is not None:
        axes.axvline(net.eps, color=PAPER_COLOUR, linestyle=":", label=f"paper's eps {net.eps:g}")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.08), ncol=2)
