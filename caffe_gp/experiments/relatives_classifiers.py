"""The relatives that also work on nets which label whole images, on the two classifiers.

GP with the net's own label, the step towards less entropy and towards confident labels, and the average with
the mirrored image and with a smaller one. (The paper's own way, by neighbours, is table 6.) Steps are chosen
without labels, on images that were kept from training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np

from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.errors import DataError
from caffe_gp.evaluation import calibration
from caffe_gp.evaluation.choose_eps import find_eps
from caffe_gp.evaluation.class_probabilities import ClassProbabilities, probabilities
from caffe_gp.experiments import cells, classifiers
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.classifiers import Classifier
from caffe_gp.experiments.relatives import THRESHOLDS
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.report.experiment_report import Report, Table, interval, points, signed

NAME, TITLE = "relatives-classifiers", "Guided perturbations among their relatives: classifiers"
PAPER_ONLY = True

_STEPS: dict[str, dict[str, Any]] = {
    "GP, its own label": {},
    "entropy": {"encoding": "entropy"},
    **{f"thresholded {t:g}": {"encoding": "thresholded-onehot", "threshold": t} for t in THRESHOLDS},
}
_VIEWS: dict[str, tuple[str, ...]] = {"flip averaged": ("flip",), "two scales averaged": ("0.75",)}
_TUNING = 200  # images that a step is chosen on
_SAMPLES = 2000


@dataclass
class Found:
    """The probabilities (N, C) that a method gives, what it costs, and its step or why it has none."""

    method: str
    y: np.ndarray
    passes: int
    step: str = ""


def nets(suite: Suite) -> Sequence[Net]:
    """None of the suite's."""
    return ()


def checks(bench: Bench) -> Sequence[Callable[[], object]]:
    """Both nets and their data."""
    return classifiers.checks(bench, classifiers.CLASSIFIERS)


def run(bench: Bench) -> Report:
    """A table a net, of its first weights."""
    tables, numbers, origins = [], {}, {}
    for classifier in classifiers.CLASSIFIERS:
        weights = classifier.weights()[0]
        told = classifiers.settings(bench, classifier, weights)
        assert told.tune is not None
        found = methods(bench, classifier, str(weights), told.tune.first(_TUNING), told.test)
        rows = [_measures(one, found[0], told.test.labels) for one in found]
        title = f"{classifier.title(weights)}, {len(told.test)} images of {told.test.name}"
        tables.append(_table(title, found, rows))
        numbers[classifier.name] = rows
        origins[classifier.name] = {"weights": weights.name, "test": told.test.describe()}
    return Report(
        NAME,
        TITLE,
        text=["Accuracy in percent. Intervals hold 95 % of a paired bootstrap over images."],
        warnings=list(classifiers.warnings(bench, classifiers.CLASSIFIERS, bench.limit or 0)),
        tables=tables,
        numbers={"nets": numbers},
        provenance={"command": bench.command, **origins},
        up=cells.INDEX,
    )


def methods(
    bench: Bench, classifier: Classifier, weights: str, tuning: ClassificationSet, test: ClassificationSet
) -> list[Found]:
    """Base first, then every method, alone and with GP on top."""
    found: list[Found] = []

    def look(images: ClassificationSet, eps: Sequence[float], **method: Any) -> list[np.ndarray]:
        told = ClassProbabilities.of_model(
            classifier.name,
            caffemodel=weights,
            images=images,
            eps=list(eps),
            workers=bench.workers,
            threads=bench.threads,
            **bench.run_settings(),
            **method,
        )
        return probabilities(told)

    def step(**method: Any) -> float:
        def measure(steps: Sequence[float]) -> tuple[float, Sequence[float]]:
            base, *after = (y.max(axis=1).mean() for y in look(tuning, steps, **method))
            return base, after

        return find_eps(measure, unit=abs(classifier.model.feed.scale)).eps

    gp = None
    for name, method in _STEPS.items():
        try:
            eps = step(**method)
        except DataError as error:  # no step raises the confidence
            found.append(Found(name, found[0].y, 3, str(error)))
            continue
        gp = gp or eps
        base, after = look(test, [eps], **method)
        found = found or [Found("base", base, 1)]
        found.append(Found(name, after, 3, f"eps {eps:g}"))
    assert gp is not None
    for name, average in _VIEWS.items():
        base, after = look(test, [gp], average=average)
        found += [Found(name, base, 2), Found(f"{name} + GP", after, 6, f"eps {gp:g}")]
    return found


def _measures(found: Found, base: Found, labels: np.ndarray) -> dict[str, Any]:
    """Accuracy, its gain with the interval, and calibration."""
    right = found.y.argmax(axis=1) == labels
    gains = right.astype(np.float64) - (base.y.argmax(axis=1) == labels)
    random = np.random.RandomState(0)
    drawn = [gains[random.randint(0, len(gains), len(gains))].mean() for _ in range(_SAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    # As one image of N pixels.
    sums = calibration.sums_of(np.ascontiguousarray(found.y.T[:, np.newaxis]), labels[np.newaxis])
    return {
        "method": found.method,
        "passes": found.passes,
        "accuracy": float(right.mean()),
        "gain": {"gain": float(gains.mean()), "low": float(low), "high": float(high)},
        **calibration.measures([sums]),
        "step": found.step,
    }


def _table(title: str, found: Sequence[Found], rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title, ["method", "passes", "accuracy (%)", *cells.GAIN, "ECE", "NLL", "step"])
    for one, row in zip(found, rows):
        gain = row["gain"]
        table.add(
            one.method,
            str(one.passes),
            points(row["accuracy"]),
            *(["", ""] if one is found[0] else [signed(gain["gain"]), interval(gain["low"], gain["high"])]),
            f"{row['expected_calibration_error']:.4f}",
            f"{row['negative_log_likelihood']:.4f}",
            one.step,
        )
    return table
