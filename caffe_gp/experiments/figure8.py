"""Figure 8: one-hot labels against other distributions, over positive and negative eps (section 5)."""

from __future__ import annotations

from typing import Any

from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import cells, chosen_images
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import ablation_only
from caffe_gp.report import figures
from caffe_gp.report.colours import GREY
from caffe_gp.report.experiment_report import Report, Table, points

NAME, TITLE = "figure8", "Figure 8: label distributions"
ENCODINGS = {
    "onehot": "one-hot (GP)",
    "random-onehot": "random one-hot",
    "uniform": "uniform",
    "top2": "top 2",
}
# Best mean IU of FCN-32s: GP, and the second best, the uniform label at a negative eps.
PAPER = {"onehot": 64.7, "uniform": 63.8}

nets = ablation_only


def run(bench: Bench) -> Report:
    """A curve an encoding; the best step of each side in a table."""
    (net,) = nets(bench.suite)
    steps, data = chosen_images.symmetric(net), bench.data()
    paper = bench.suite.paper
    header = ["label", "best with eps < 0", "at eps", "best with eps > 0", "at eps"]
    table = Table(f"{net.title}, {len(data)} images", header + ["paper's best"] * paper)
    numbers: dict[str, Any] = {}
    runs = []
    for encoding, title in ENCODINGS.items():
        sweep = bench.run(net, steps, data, encoding=encoding)
        runs.append(sweep)
        base, values = mean_iu(sweep.base), [mean_iu(sweep.at(eps)) for eps in steps]
        row = [title]
        for sign in (-1, 1):
            best, eps = max((value, eps) for value, eps in zip(values, steps) if eps * sign > 0)
            row += [cells.gain_text(sweep.gain(eps)), f"{eps:g}"]
            row[-2] = f"{points(best)}, {row[-2]}"
        table.add(*row, *([f"{PAPER[encoding]}" if encoding in PAPER else ""] * paper))
        numbers[encoding] = {
            "eps": steps,
            "mean_iu": [100 * value for value in values],
            "gain": [sweep.gain(eps).points() for eps in steps],
        }
    table.note = f"Base {points(base)}. Beside each mean IU: its gain over the base."
    figures.save(_draw(numbers, 100 * base), bench.out / NAME, NAME)
    return cells.report(
        bench,
        NAME,
        TITLE,
        [net],
        runs,
        [table],
        [
            (
                NAME,
                f"{net.title}: mean IU on {len(data)} images after one step along the signal of different "
                "label distributions. Negative steps go against the signal.",
            )
        ],
        {"net": net.name, "images": len(data), "base": 100 * base, "encodings": numbers},
    )


def _draw(numbers: dict[str, Any], base: float) -> Any:
    with figures.style():
        figure = figures.new(3.0, 5.0)
        axes = figure.add_subplot(1, 1, 1)
        figures.curves_axes(axes, "eps (units of the input)", "mean IU (%)")
        axes.axhline(base, color=GREY, linestyle="--", linewidth=0.9, label=f"base {base:.2f}")
        axes.axvline(0, color=GREY, linewidth=0.6)
        for (encoding, title), (colour, look) in zip(ENCODINGS.items(), figures.looks()):
            found = numbers[encoding]
            x, y = chosen_images.with_base(found["eps"], found["mean_iu"], base)
            axes.plot(x, y, look, color=colour, label=title)
        # Curves cross everywhere in the plot.
        above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "columnspacing": 1.2}
        axes.legend(frameon=False, ncol=1 + len(ENCODINGS), **above)
        figure.tight_layout()
    return figure
