"""Figures 11 and 16: digits that a step towards the neighbours' classes corrects, and some that it breaks."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from caffe_gp.evaluation.classification import ClassificationTask, run_task
from caffe_gp.evaluation.classification_examples import examples
from caffe_gp.evaluation.classification_page import BROKEN, FIXED, sheet
from caffe_gp.experiments import cells, classifiers
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Verdict
from caffe_gp.report.experiment_report import Figure, Report, Table

NAME, TITLE = "figure11", "Figures 11 and 16: digits, neighbours, gradients and perturbed digits"
PAPER_ONLY = True


def nets(suite: Suite) -> Sequence[Net]:
    """None of the suite's: classifiers have a list of their own."""
    return ()


def checks(bench: Bench) -> Sequence[Callable[[], object]]:
    """LeNet and its data."""
    return classifiers.checks(bench, classifiers.CLASSIFIERS[:1])


def run(bench: Bench) -> Report:
    """A sheet of LeNet's digits: the first that were corrected, then the first that were broken."""
    classifier = classifiers.CLASSIFIERS[0]
    caffemodel = classifier.weights()[0]
    task = ClassificationTask.of(classifiers.settings(bench, classifier, caffemodel))
    found = run_task(task)
    (variant,) = found.variants
    eps = found.chosen_eps(variant) or min(step for step in found.eps if step > 0)
    outcome = found.outcome(variant, eps)
    shown = examples(task, found, variant, eps, FIXED, BROKEN)
    drawn = []
    if shown:
        figures.save(sheet(task, shown), bench.out / NAME, NAME)
        rule = "The first test images that became right, then the first that became wrong."
        drawn.append(Figure(NAME, f"{classifier.title(caffemodel)}, eps {eps:.3g}. {rule}"))
    names = found.origin["class_names"]
    header = ["test image", "label", "base", "with GP", "neighbours"]
    table = Table(f"Digits corrected: {outcome.fixed}, broken: {outcome.broken}; shown:", header)
    for one in shown:
        labels = [names[label] for label in (one.truth, one.base, one.after)]
        table.add(str(one.row), *labels, ", ".join(names[label] for label in one.neighbour_classes))
    numbers = {
        "eps": eps,
        "examples": [
            {
                "row": one.row,
                "truth": one.truth,
                "base": one.base,
                "after": one.after,
                "neighbours": one.neighbours.tolist(),
            }
            for one in shown
        ],
    }
    provenance = {"command": bench.command, "runs": {classifier.name: found.origin}}
    text = ["A row: a test digit, its nearest training digits, their gradients' signs summed, the result."]
    said = text, list(classifiers.warnings(bench, [classifier], len(found.truth)))
    sure = Verdict.HOLDS if outcome.p <= 0.05 else Verdict.WEAKLY
    claim = Claim(
        "A step towards the classes of the nearest training digits corrects digits.",
        "Section 5, Figures 11 and 16",
        "digits corrected and broken",
        "examples, no value",
        f"{outcome.fixed} and {outcome.broken}",
        sure if outcome.fixed > outcome.broken else Verdict.NOT,
        "Holds: more are corrected than broken, and McNemar's exact test says p <= 0.05. Weakly: more are.",
    )
    origin: dict[str, Any] = {"numbers": numbers, "provenance": provenance, "up": cells.INDEX}
    return Report(NAME, TITLE, [claim], *said, [table], drawn, **origin)
