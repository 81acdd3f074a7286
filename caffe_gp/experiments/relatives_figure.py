"""The figure of ``experiments.relatives``: gains with intervals, and over the strength of corruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import numpy as np

from caffe_gp.report import figures
from caffe_gp.report.colours import GREY, LINES, OURS, PAPER

_ROW, _CURVES = 0.17, 3.0  # inches: a method's line, and a plot over strengths


def draw(folder: Path, name: str, nets: Mapping[str, Any]) -> None:
    """Save NAME.png, .pdf and .svg; ``nets``: the numbers of the experiment's report."""
    panels = [(net, numbers, kind) for net, numbers in nets.items() for kind in ("methods", "corruptions")]
    panels = [panel for panel in panels if panel[2] in panel[1]]
    heights = [
        0.8 + _ROW * len(numbers[kind]) if kind == "methods" else _CURVES for _, numbers, kind in panels
    ]
    with figures.style():
        figure = figures.new(sum(heights), figures.PLOT)  # below each other: telephones have no room beside
        grid = figure.add_gridspec(len(panels), 1, height_ratios=heights)
        for place, (net, numbers, kind) in enumerate(panels):
            axes = figure.add_subplot(grid[place, 0])
            axes.set_title(net if kind == "methods" else f"{net}, corrupted")
            (_methods if kind == "methods" else _strengths)(axes, numbers[kind])
        figure.tight_layout()
    figures.save(figure, folder, name, figures.CURVES)


def _methods(axes: Any, methods: list[dict[str, Any]]) -> None:
    """A row a method: the gain, a dot, and its interval, a line."""
    rows = [row for row in methods if "gain" in row]
    for y, row in enumerate(reversed(rows)):
        gain, with_gp = row["gain"], row["method"].endswith("GP")
        colour = OURS if with_gp else PAPER
        axes.plot([gain["low"], gain["high"]], [y, y], "-", color=colour)
        axes.plot([gain["gain"]], [y], "o" if with_gp else "s", color=colour)
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([row["method"] for row in reversed(rows)])
    axes.axvline(0, color=GREY, linestyle="--", linewidth=0.9)
    axes.set_xlabel("gain (points of mean IU)")


def _strengths(axes: Any, corruptions: Mapping[str, list[dict[str, Any]]]) -> None:
    """A line a method: the mean gain over the kinds of corruption."""
    strengths = sorted({int(name.partition(":")[2]) for name in corruptions})
    names = [row["method"] for row in next(iter(corruptions.values())) if "gain" in row]
    figures.curves_axes(axes, "strength", "mean gain (points)", axes.get_title())
    for name, colour in zip(names, LINES * 2):
        of_name = [
            [
                next(row["gain"]["gain"] for row in rows if row["method"] == name)
                for corruption, rows in corruptions.items()
                if corruption.endswith(f":{strength}")
            ]
            for strength in strengths
        ]
        style = "o-" if name.endswith("GP") else "s--"
        axes.plot(strengths, [float(np.mean(values)) for values in of_name], style, color=colour, label=name)
    axes.axhline(0, color=GREY, linestyle="--", linewidth=0.9)
    axes.set_xticks(strengths)
    axes.legend(frameon=False, fontsize=figures.SMALL - 1)
