"""The picture of a training: its loss, and beside it what its test nets gave."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from caffe_gp.report import figures
from caffe_gp.report.colours import GREY


def draw(
    loss: Sequence[tuple[int, float]],
    tests: Sequence[tuple[int, Mapping[str, float]]] = (),
    scores: Sequence[tuple[int, float]] = (),
) -> Any:
    """A matplotlib figure of (iteration, value) pairs.

    loss    of the training net, drawn on the left; test outputs whose names say loss are drawn with it
    tests   (iteration, outputs by name) pairs of the test nets; the other outputs are drawn on the right
    scores  of snapshots; drawn on the right
    What the net gave before any training is left out: beside it, later values could not be told apart.
    """
    tests = [(i, values) for i, values in tests if i > 0]
    curves = {name: [(i, values[name]) for i, values in tests] for name in (tests[0][1] if tests else ())}
    if scores:
        curves["score"] = list(scores)
    losses = {name: curve for name, curve in curves.items() if "loss" in name}
    others = {name: curve for name, curve in curves.items() if name not in losses}
    with figures.style():
        figure = figures.new(2.6, figures.WIDTH if others else figures.WIDTH / 2)
        axes = figure.add_subplot(1, 1 + bool(others), 1)
        figures.curves_axes(axes, "iteration", "loss")
        axes.plot(*_columns(loss), "-", color=GREY, linewidth=0.8, label="training")
        _plot(axes, {f"test {name}": curve for name, curve in losses.items()})
        if all(value > 0 for _, value in loss):
            axes.set_yscale("log")
        if others:
            axes = figure.add_subplot(1, 2, 2)
            figures.curves_axes(axes, "iteration", "test")
            _plot(axes, others)
        figure.tight_layout()
    return figure


def _plot(axes: Any, curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    for (name, curve), (colour, look) in zip(curves.items(), figures.looks()):
        axes.plot(*_columns(curve), look, color=colour, label=name)
    axes.legend(frameon=False)


def _columns(pairs: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [i for i, _ in pairs], [value for _, value in pairs]
