"""Figure 9: the error signals of one-hot and uniform labels in a toy example with five classes, exactly.

Needs no net and no images; section 7's formula, ``caffe_gp.gp.error_signal``, against the printed digits.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from caffe_gp.experiments import cells
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.gp import error_signal, label_distribution
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, in_cases
from caffe_gp.report.colours import GREY, OURS, PAPER
from caffe_gp.report.experiment_report import BAD, GOOD, Cell, Figure, Report, Row, Table

NAME, TITLE = "figure9", "Figure 9: error signals of one-hot and uniform labels"

# The paper's Softmax outputs and, as printed, the error signals. The bimodal one-hot signal is cut off after
# three digits (-0.1575, 0.2475), hence the test by less than one unit of the last digit.
OUTPUTS = {"unimodal": (0.2, 0.6, 0.07, 0.1, 0.03), "bimodal": (0.35, 0.1, 0.45, 0.06, 0.04)}
PRINTED = {
    ("unimodal", "onehot"): ("-0.12", "0.24", "-0.042", "-0.06", "-0.018"),
    ("unimodal", "uniform"): ("0.0", "-0.08", "0.026", "0.02", "0.034"),
    ("bimodal", "onehot"): ("-0.157", "-0.045", "0.247", "-0.027", "-0.018"),
    ("bimodal", "uniform"): ("-0.03", "0.02", "-0.05", "0.028", "0.032"),
}
_LABELS = {"onehot": "one-hot label (GP)", "uniform": "uniform label"}


def nets(suite: Suite) -> Sequence[Net]:
    """None: the example has no net."""
    return ()


def signals() -> dict[tuple[str, str], np.ndarray]:
    """The error signal (5,) of each distribution and label."""
    found = {}
    for shape, label in PRINTED:
        y = np.array([OUTPUTS[shape]])
        found[shape, label] = error_signal(y, label_distribution(label, y))[0]
    return found


def matches(value: float, printed: str) -> bool:
    """Whether a value agrees with its printed digits, rounded or cut off."""
    digits = len(printed.partition(".")[2])
    # 1e-9: the values are exact in decimals, not in binary.
    return abs(value - float(printed)) < 10.0**-digits - 1e-9


def run(bench: Bench) -> Report:
    """The picture, and a table that checks every printed number."""
    found = signals()
    table = Table(
        "Against the printed digits",
        ["score distribution, label", *(f"class {label}" for label in range(1, 6))],
    )
    numbers: dict[str, Any] = {}
    for (shape, label), values in found.items():
        printed = PRINTED[shape, label]
        row: Row = [f"{shape}, {_LABELS[label]}"]
        for value, text in zip(values, printed):
            verdict = GOOD if matches(value, text) else BAD
            row.append(Cell(f"{value + 0.0:.4g}", verdict))
        table.add(*row)
        table.add("paper", *printed)
        numbers[f"{shape} {label}"] = {
            "softmax": list(OUTPUTS[shape]),
            "error_signal": values.tolist(),
            "paper": printed,
            "agrees": all(map(matches, values, printed)),
        }
    figures.save(_draw(found), bench.out / NAME, NAME, figures.CURVES)
    met = sum(
        matches(value, text) for key, values in found.items() for value, text in zip(values, PRINTED[key])
    )
    digits = sum(map(len, PRINTED.values()))
    claim = Claim(
        "The error signal of a label l is (l . y)(l - y): these are its values in the toy example.",
        "Figure 9 and section 7",
        "printed values that are met to their last digit",
        f"{digits} values",
        f"{met} of {digits}",
        *in_cases(met, digits, "Rounded or cut off, a value is the printed one."),
    )
    return Report(
        NAME,
        TITLE,
        [claim],
        [
            "The net tells five classes apart. With a one-hot label the error signal raises the predicted "
            "class above all others. With a uniform label its largest entry points the other way, away from "
            "the predicted class, which is why uniform labels help with negative eps; where two classes "
            "compete, both stand out in it."
        ],
        tables=[table],
        figures=[
            Figure(
                NAME,
                "Softmax outputs y of two pixels, and the signals (l . y)(l - y) that a one-hot and a "
                "uniform label l send back. The dominant direction is the filled bar.",
            )
        ],
        numbers={"signals": numbers},
        provenance=cells.provenance(bench, []),
        up=cells.INDEX,
    )


def _draw(found: dict[tuple[str, str], np.ndarray]) -> Any:
    with figures.style():
        figure = figures.new(3.6)
        for row, (shape, y) in enumerate(OUTPUTS.items()):
            panels = [("Softmax output", np.array(y), GREY)]
            panels.append(("signal of the one-hot label (GP)", found[shape, "onehot"], OURS))
            panels.append(("signal of the uniform label", found[shape, "uniform"], PAPER))
            for column, (title, values, colour) in enumerate(panels):
                axes = figure.add_subplot(2, 3, 3 * row + column + 1)
                _bars(axes, values, colour, f"{shape}: {title}")
        figure.tight_layout()
    return figure


def _bars(axes: Any, values: np.ndarray, colour: str, title: str) -> None:
    dominant = int(np.abs(values).argmax())
    classes = np.arange(1, len(values) + 1)
    bars = axes.bar(classes, values, width=0.65, color="white", edgecolor=colour, linewidth=1)
    bars[dominant].set_facecolor(colour)
    axes.axhline(0, color="black", linewidth=0.6)
    span = float(np.ptp([0, *values]))
    for x, value in zip(classes, values):
        shift = 0.04 * span * (-1 if value < 0 else 1)
        place = "top" if value < 0 else "bottom"
        axes.text(x, value + shift, f"{value + 0.0:.4g}", ha="center", va=place, fontsize=figures.SMALL)
    axes.set_ylim(min(0, values.min()) - 0.2 * span, max(0, values.max()) + 0.2 * span)
    axes.set_xticks(classes)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(title)
    axes.set_xlabel("class")
