"""Line plots as SVG texts that can stand inside an HTML page."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import dataclass
from typing import Sequence

from caffe_gp.errors import CaffeGPError

COLOURS = ("#1f6feb", "#d1495b", "#2a9d6f", "#8a5cd1", "#c98a00", "#5b6470")


@dataclass
class Line:
    """A line of a plot: its values, its name in the legend, and its look."""

    x: Sequence[float]
    y: Sequence[float]
    name: str
    style: str = "o-"
    width: float = 1.8


def lines(
    drawn: Sequence[Line],
    x_title: str,
    y_title: str,
    level: float | None = None,
    level_name: str = "base",
    marked: tuple[float, float] | None = None,
    size: tuple[float, float] = (6.4, 3.6),
) -> str:
    """An SVG plot.

    level   a dashed horizontal line, named ``level_name``
    marked  a point to put a ring around
    size    width and height in inches
    """
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise CaffeGPError("plots need the Python package matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=size)
    canvas = FigureCanvasSVG(figure)
    axes = figure.add_subplot(1, 1, 1)
    if level is not None:
        axes.axhline(level, color="#5b6470", linestyle="--", linewidth=1.2, label=f"{level_name} {level:.2f}")
    for line, colour in zip(drawn, itertools.cycle(COLOURS)):
        axes.plot(
            line.x, line.y, line.style, color=colour, linewidth=line.width, markersize=4, label=line.name
        )
    if marked is not None:
        axes.plot(
            [marked[0]], [marked[1]], "o", markersize=11, markerfacecolor="none", markeredgecolor="#222222"
        )
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    axes.grid(True, alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    columns = min(4, len(drawn) + (level is not None))
    axes.legend(frameon=False, fontsize=8.5, ncol=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.tight_layout()
    stream = io.BytesIO()
    canvas.print_svg(stream)
    return _inline(stream.getvalue().decode("utf-8"))


def _inline(svg: str) -> str:
    """The <svg> element alone, as wide as its surroundings."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for attribute in ("width", "height"):
        svg = re.sub(rf'(<svg[^>]*?) {attribute}="[^"]*"', r"\1", svg, count=1)
    return svg
