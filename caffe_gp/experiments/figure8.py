"""Figure 8: one-hot labels against other distributions, over positive and negative eps (section 5)."""

from __future__ import annotations

from typing import Any

from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import cells, chosen_images
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import ablation_only
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Verdict, in_cases
from caffe_gp.report.colours import GREY
from caffe_gp.report.colours import PAPER as PAPER_COLOUR
from caffe_gp.report.experiment_report import Figure, Report, Row, Table, points

NAME, TITLE = "figure8", "Figure 8: label distributions"
ENCODINGS = {
    "onehot": "one-hot (GP)",
    "random-onehot": "random one-hot",
    "uniform": "uniform",
    "top2": "top 2",
}
# Best mean IU of FCN-32s: GP, and the second best, the uniform label at a negative eps.
PAPER, PAPER_BASE = {"onehot": 64.7, "uniform": 63.8}, 62.1

nets = ablation_only


def run(bench: Bench) -> Report:
    """A curve an encoding; the best step of each side in a table."""
    (net,) = nets(bench.suite)
    steps, data = chosen_images.symmetric(net), bench.data()
    paper = bench.suite.paper
    header = ["label"]
    for side in ("eps < 0", "eps > 0"):
        header += [f"best mean IU, {side} (%)", "at eps", *cells.GAIN]
    table = Table(f"{net.title}, {len(data)} images", header + ["paper's best (%)"] * paper)
    numbers: dict[str, Any] = {}
    runs = []
    for encoding, title in ENCODINGS.items():
        sweep = bench.run(net, steps, data, encoding=encoding)
        runs.append(sweep)
        base, values = mean_iu(sweep.base), [mean_iu(sweep.at(eps)) for eps in steps]
        row: Row = [title]
        for sign in (-1, 1):
            best, eps = max((value, eps) for value, eps in zip(values, steps) if eps * sign > 0)
            row += [points(best), f"{eps:g}", *cells.gain_cells(sweep.gain(eps))]
        table.add(*row, *([f"{PAPER[encoding]}" if encoding in PAPER else ""] * paper))
        numbers[encoding] = {
            "eps": steps,
            "mean_iu": [100 * value for value in values],
            "gain": [sweep.gain(eps).points() for eps in steps],
        }
    table.note = f"Base {points(base)}. Gains are over it."
    figures.save(_draw(numbers, 100 * base), bench.out / NAME, NAME, figures.CURVES)
    return cells.report(
        bench,
        NAME,
        TITLE,
        [net],
        runs,
        _claims(numbers, 100 * base),
        [table],
        [
            Figure(
                NAME,
                f"{net.title}: mean IU on {len(data)} images after one step along the signal of different "
                "label distributions. Negative steps go against the signal. The paper's gains are those of "
                "FCN-32s (its curves are only printed), from this net's base.",
            )
        ],
        {"net": net.name, "images": len(data), "base": 100 * base, "encodings": numbers},
    )


def _claims(numbers: dict[str, Any], base: float) -> list[Claim]:
    best = {encoding: max(found["mean_iu"]) for encoding, found in numbers.items()}
    second = max((encoding for encoding in best if encoding != "onehot"), key=best.__getitem__)
    onehot = numbers["onehot"]
    where = onehot["mean_iu"].index(best["onehot"])
    reach = onehot["gain"][where]["gain"] - onehot["gain"][where]["low"]
    lead = best["onehot"] - best[second]
    hurting = [value < base for eps, value in zip(onehot["eps"], onehot["mean_iu"]) if eps < 0]
    strongest = onehot["mean_iu"][onehot["eps"].index(min(onehot["eps"]))]
    return [
        Claim(
            "One-hot labels beat random, uniform and top-2 labels; uniform ones with eps < 0 are second.",
            "Section 5, Figure 8",
            "best mean IU (%) of one-hot labels and of the second best",
            "64.7 and 63.8 (uniform)",
            f"{best['onehot']:.2f} and {best[second]:.2f} ({ENCODINGS[second]})",
            Verdict.HOLDS if lead > 0 else Verdict.WEAKLY if lead > -reach else Verdict.NOT,
            "Holds: one-hot labels are best. Weakly: they are behind by less than half of their own 95 % "
            "interval.",
        ),
        Claim(
            "A negative eps acts as an adversary.",
            "Section 5, Figure 8",
            f"mean IU (%) of the base and at eps {min(onehot['eps']):g}",
            "shown, no value",
            f"{base:.2f} and {strongest:.2f}",
            *in_cases(sum(hurting), len(hurting), "Every negative step lowers the mean IU."),
        ),
    ]


def _draw(numbers: dict[str, Any], base: float) -> Any:
    with figures.style():
        figure = figures.new(3.4, figures.PLOT)
        axes = figure.add_subplot(1, 1, 1)
        figures.curves_axes(axes, "eps (units of the input)", "mean IU (%)")
        axes.axhline(base, color=GREY, linestyle="--", linewidth=0.9, label=f"base {base:.2f}")
        axes.axvline(0, color=GREY, linewidth=0.6)
        for (encoding, title), (colour, look) in zip(ENCODINGS.items(), figures.looks()):
            found = numbers[encoding]
            x, y = chosen_images.with_base(found["eps"], found["mean_iu"], base)
            axes.plot(x, y, look, color=colour, label=title)
        for encoding, look in (("onehot", ":"), ("uniform", "-.")):
            level = base + PAPER[encoding] - PAPER_BASE
            name = f"paper's gain, {ENCODINGS[encoding]}"
            axes.axhline(level, color=PAPER_COLOUR, linestyle=look, linewidth=0.9, label=name)
        # Curves cross everywhere in the plot.
        above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "columnspacing": 1.2}
        axes.legend(frameon=False, ncol=3, **above)
        figure.tight_layout()
    return figure
