"""Guided perturbations among their relatives: other ways to get more out of a trained net at test time.

Beside the base: GP; the surer of both passes at each pixel (switching); the same step towards less entropy,
and towards confident labels alone (thresholded); the average with the mirrored image, and with another scale;
a dense CRF; the last three with GP on top, too. Where the net has a twin with batch normalisation: the
statistics of the test image, and TENT. The suites in CORRUPTED are measured on corrupted images as well.

Every parameter is chosen on other images, the suite's tuning set: steps without labels (``--eps auto``), the
scale, and TENT's rate and steps, by mean IU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

import numpy as np

from caffe_gp.datasets.segmentation import SegmentationSet
from caffe_gp.errors import UsageError
from caffe_gp.evaluation import calibration
from caffe_gp.evaluation.bootstrap import Gain, paired_gain
from caffe_gp.evaluation.segmentation import RunResults
from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import cells, relatives_figure
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net
from caffe_gp.images.corruptions import KINDS
from caffe_gp.models import zoo
from caffe_gp.report.experiment_report import Figure, Report, Table, points, signed

NAME, TITLE = "relatives", "Guided perturbations among their relatives"

THRESHOLDS = (0.5, 0.9)
# Of the scaled view; larger ones only where neither the net nor its feeding fixes the canvas.
SMALLER, LARGER = "0.75", "1.25"
TENT_GRID = ((1, 1e-3), (1, 1e-2), (5, 1e-3))  # steps and rate
# Net -> the same with batch normalisation, where there is one.
NORMALISED = {"camvid": "camvid-bn"}
CORRUPTED = ("camvid", "digits")
STRENGTHS = (1, 3, 5)
# The share of the images that is looked at under each of the 15 corruptions.
CORRUPTED_SHARE = 0.4

_ENCODINGS: dict[str, dict[str, Any]] = {
    "entropy": {"encoding": "entropy"},
    **{f"thresholded {t:g}": {"encoding": "thresholded-onehot", "threshold": t} for t in THRESHOLDS},
}


@dataclass
class Found:
    """What one method was found to do.

    matrices   (N, C, C) per-image confusion matrices
    passes     of the net, an image
    measures   of calibration, by name; none where it has no probabilities
    parameter  what was chosen for it, for people
    """

    method: str
    matrices: np.ndarray
    passes: int
    measures: dict[str, float] = field(default_factory=dict)
    parameter: str = ""


@dataclass
class Choice:
    """What was chosen for a net on other images: steps by method, the scaled view, TENT's steps and rate."""

    eps: dict[str, float]
    scale: str
    tent: tuple[int, float] | None
    images: int


def checks(bench: Bench) -> Sequence[Callable[[], object]]:
    """The images that everything is chosen on, and the weights of twins."""
    twins = [_twin(net) for net in bench.suite.nets if net.name in NORMALISED]
    return [lambda: _tuning(bench).check(), *(twin.caffemodel for twin in twins)]


def run(bench: Bench) -> Report:
    """A table a net, and one of the corruptions."""
    tables: list[Table] = []
    numbers: dict[str, dict[str, Any]] = {}
    runs: list[RunResults] = []
    corrupted: dict[str, list[Found]] = {}
    for net in bench.suite.nets:
        choice = choose(bench, net)
        found = methods(bench, net, choice, bench.data(), runs)
        tables.append(_table(bench, net, choice, found))
        numbers[net.name] = {"choice": vars(choice), "methods": _numbers(found)}
        if bench.suite.name in CORRUPTED:
            corrupted = under_corruption(bench, net, choice, runs)
            tables.append(_corruption_table(bench, net, corrupted))
            numbers[net.name]["corruptions"] = {name: _numbers(rows) for name, rows in corrupted.items()}
    relatives_figure.draw(bench.out / NAME, NAME, numbers)
    caption = (
        "Gain over the base in points of mean IU, with the interval that holds 95 % of a paired bootstrap "
        "over images"
        + ("; below: the mean over the five corruptions at each strength." if corrupted else ".")
    )
    nets = bench.suite.nets
    return cells.report(
        bench,
        NAME,
        TITLE,
        nets,
        runs,
        [],  # none of the paper's
        tables,
        [Figure(NAME, caption)],
        {"nets": numbers, "tuning": _tuning(bench).name},
    )


# ---- parameters


def _tuning(bench: Bench) -> SegmentationSet:
    """The images that everything is chosen on."""
    name = bench.suite.tuning or bench.suite.beside
    if name is None:
        raise UsageError(f"suite '{bench.suite.name}' has no images to choose parameters on")
    chosen = bench.named(name)
    return chosen if bench.tuning_limit is None else chosen.first(bench.tuning_limit)


def choose(bench: Bench, net: Net) -> Choice:
    """Steps without labels, the rest by mean IU, on images that nothing is measured on."""
    tuning = _tuning(bench)

    of_encodings = {"GP": {}, **_ENCODINGS}
    eps = {name: bench.eps_without_labels(net, tuning, **method) for name, method in of_encodings.items()}
    free = net.model.feed.resize is None and net.model.feed.pad_to is None
    scales = (SMALLER, LARGER) if free else (SMALLER,)
    scored = {}
    for scale in scales if len(scales) > 1 else ():
        scored[scale] = mean_iu(bench.run(net, [eps["GP"]], tuning, average=(scale,)).base)
    tent = None
    if net.name in NORMALISED:
        tents = {pair: mean_iu(_tent(bench, net, pair, eps["GP"], tuning).base) for pair in TENT_GRID}
        tent = max(tents, key=lambda pair: tents[pair])
    return Choice(
        eps, max(scored, key=lambda name: scored[name]) if scored else SMALLER, tent, len(tuning.ids)
    )


def _tent(
    bench: Bench, net: Net, tent: tuple[int, float], eps: float, data: SegmentationSet, **method: Any
) -> RunResults:
    steps, rate = tent
    return bench.run(_twin(net), [eps], data, adapt="tent", tent_steps=steps, tent_rate=rate, **method)


def _twin(net: Net) -> Net:
    """The net with batch normalisation."""
    return Net(zoo.get(NORMALISED[net.name]))


# ---- methods


def methods(
    bench: Bench,
    net: Net,
    choice: Choice,
    data: SegmentationSet,
    runs: list[RunResults],
    crf: bool = True,
    **method: Any,
) -> list[Found]:
    """Base first, then every method, alone and with GP on top; with a ``method``, those of one view only."""
    step, found = choice.eps["GP"], []

    def look(run_of: Net, eps: float, **more: Any) -> RunResults:
        runs.append(bench.run(run_of, [eps], data, **method, **more))
        return runs[-1]

    preset = bench.suite.crf.get(net.name) if crf else None
    plain = look(net, step, switch=True, **({} if preset is None else {"crf": preset}))
    found += _both("", plain, f"eps {step:g}")
    switched = plain.at(step, switched=True)
    found.append(Found("GP + switching", switched, plain.passes[1], {}, f"eps {step:g}"))
    if not method:
        for name, encoding in _ENCODINGS.items():
            eps = choice.eps[name]
            found.append(_both(name, look(net, eps, **encoding), f"eps {eps:g}")[1])
            found[-1].method = name
    if not method:
        found += _both("flip averaged", look(net, step, average=("flip",)), "")
        found += _both("two scales averaged", look(net, step, average=(choice.scale,)), f"1, {choice.scale}")
    if preset is not None:
        assert plain.base_crf is not None and plain.after_crf is not None
        found.append(Found("dense CRF", plain.base_crf, plain.passes[0], {}, preset))
        found.append(Found("dense CRF + GP", plain.after_crf[0], plain.passes[1], {}, preset))
    if choice.tent is not None:
        steps, rate = choice.tent
        found += _both("BN statistics", look(_twin(net), step, adapt="bn"), "")
        runs.append(_tent(bench, net, choice.tent, step, data, **method))
        found += _both("TENT", runs[-1], f"{steps} step(s), rate {rate:g}")
    return found


def _both(name: str, run: RunResults, parameter: str) -> list[Found]:
    """A method of one run, and GP on top of it."""
    sums = [calibration.measures(entries) for entries in run.calibration]
    plain, more = (name or "base", f"{name} + GP" if name else "GP")
    return [
        Found(plain, run.base, run.passes[0], sums[0], parameter if name else ""),
        Found(more, run.at(run.eps[0]), run.passes[1], sums[1], parameter),
    ]


def under_corruption(
    bench: Bench, net: Net, choice: Choice, runs: list[RunResults]
) -> dict[str, list[Found]]:
    """'KIND:STRENGTH' -> what every method does there, on a share of the images."""
    data = bench.data()
    data = data.first(max(2, round(CORRUPTED_SHARE * len(data.ids))))
    found = {}
    for strength in STRENGTHS:
        for kind in KINDS:
            name = f"{kind}:{strength}"
            found[name] = methods(bench, net, choice, data, runs, crf=False, corrupt=name)
    return found


# ---- tables


def gains(found: Sequence[Found]) -> list[Gain]:
    """Of every method but the base, over the base, which is the first."""
    return [paired_gain(found[0].matrices, one.matrices) for one in found[1:]]


def gain_on_top(found: Sequence[Found], one: Found) -> Gain | None:
    """Of GP over the method that it stands on; None for methods without GP, and for GP alone."""
    below = [other for other in found if one.method == f"{other.method} + GP"]
    return paired_gain(below[0].matrices, one.matrices) if below else None


def _numbers(found: Sequence[Found]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for one, gain in zip(found, [None, *gains(found)]):
        row = {"method": one.method, "passes": one.passes, "mean_iu": 100 * mean_iu(one.matrices)}
        rows.append({**row, **one.measures, "parameter": one.parameter})
        on_top = gain_on_top(found, one)
        if gain is not None:
            rows[-1]["gain"] = gain.points()
        if on_top is not None:
            rows[-1]["gain_of_gp_on_top"] = on_top.points()
    return rows


def _table(bench: Bench, net: Net, choice: Choice, found: Sequence[Found]) -> Table:
    images = len(found[0].matrices)
    of_gp = ["gain of GP on top (points)", cells.GAIN[1]]
    table = Table(
        f"{net.title}, {images} images",
        ["method", "passes", "mean IU (%)", *cells.GAIN, *of_gp, "ECE", "NLL", "parameter"],
    )
    for one, gain in zip(found, [None, *gains(found)]):
        on_top = gain_on_top(found, one)
        table.add(
            one.method,
            str(one.passes),
            points(mean_iu(one.matrices)),
            *(["", ""] if gain is None else cells.gain_cells(gain)),
            *(["", ""] if on_top is None else cells.gain_cells(on_top)),
            *(
                f"{one.measures[name]:.4f}" if name in one.measures else ""
                for name in ("expected_calibration_error", "negative_log_likelihood")
            ),
            one.parameter,
        )
    table.note = f"Parameters were chosen on {choice.images} images of {_tuning(bench).name}."
    return table


def _corruption_table(bench: Bench, net: Net, corrupted: dict[str, list[Found]]) -> Table:
    names = [one.method for one in next(iter(corrupted.values()))]
    images = len(next(iter(corrupted.values()))[0].matrices)
    table = Table(
        f"{net.title}, corrupted: {images} images",
        ["corruption", "base", *names[1:]],
    )
    for name, found in corrupted.items():
        table.add(name, points(mean_iu(found[0].matrices)), *map(_starred, gains(found)))
    for strength in STRENGTHS:
        alike = [rows for name, rows in corrupted.items() if name.endswith(f":{strength}")]
        base = [mean_iu(rows[0].matrices) for rows in alike]
        means = [np.mean([gain.gain for gain in column]) for column in zip(*map(gains, alike))]
        table.add(f"mean of strength {strength}", points(float(np.mean(base))), *map(signed, means))
    table.note = (
        "The first images of the set; the parameters are those of clean images. * where the 95 % interval "
        "excludes zero; results.json has the intervals."
    )
    return table


def _starred(gain: Gain) -> str:
    sure = gain.low > 0 or gain.high < 0
    return f"{signed(gain.gain)}{'*' if sure else ''}"
