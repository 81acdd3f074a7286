"""The page's two plots: the confidence, and a pixel's highest scores, over eps. SVG texts."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from caffe_gp.explore.look import Look
from caffe_gp.report import figures
from caffe_gp.report.colours import GREY, OURS
from caffe_gp.report.svg import inline

_WIDTH, _HEIGHT = 4.2, 2.5  # inches
_TICKS = 5  # of eps, whose numbers may be long


def confidence(look: Look) -> str:
    """The mean confidence over eps, that of the base, and where the slider stands."""
    assert look.curve is not None
    before, now = look.confidence()
    with figures.style():
        figure, axes = _empty(look, "confidence" if look.whole else "mean confidence")
        axes.axhline(before, color=GREY, linestyle="--", linewidth=0.8, label=f"base, {before:.3f}")
        axes.plot(look.curve.eps, look.curve.confidence, "o-", color=OURS, label="GP")
        axes.plot([look.eps], [now], "o", color=OURS, markersize=9, markerfacecolor="none")
        return _svg(figure, axes, "confidence", "Confidence over eps")


def scores(look: Look, names: list[str], labels: np.ndarray) -> str:
    """The scores of the pixel that was clicked over eps, for some classes."""
    assert look.curve is not None and look.pixel_scores is not None
    with figures.style():
        figure, axes = _empty(look, "score")
        axes.axvline(look.eps, color=GREY, linewidth=0.8)
        for name, label, (colour, line) in zip(names, labels, figures.looks()):
            axes.plot(look.curve.eps, look.pixel_scores[:, label], line, color=colour, label=name)
        return _svg(figure, axes, "scores", "Scores over eps")


def _empty(look: Look, y_title: str) -> tuple[Any, Any]:
    assert look.method is not None
    figure = figures.new(_HEIGHT, _WIDTH)
    axes = figure.add_subplot(1, 1, 1)
    figures.curves_axes(axes, f"eps, in units of {look.method.blob}", y_title)
    axes.locator_params(axis="x", nbins=_TICKS)
    return figure, axes


def _svg(figure: Any, axes: Any, name: str, title: str) -> str:
    axes.legend(frameon=False, ncol=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.tight_layout()
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return inline(stream.getvalue(), name, title)
