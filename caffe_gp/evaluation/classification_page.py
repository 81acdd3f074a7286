"""A classification run as a page: the table, the curve over eps, and images whose label changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np

from caffe_gp.evaluation.classification import Classification, ClassificationTask, run_task
from caffe_gp.evaluation.classification_examples import Example, examples
from caffe_gp.evaluation.classification_results import ClassificationResults, Variant
from caffe_gp.report import figures, pictures
from caffe_gp.report.claims import Claim, Verdict
from caffe_gp.report.colours import GREY, PAPER
from caffe_gp.report.experiment_report import BAD, GOOD, Cell, Figure, Report, Table, points, signed
from caffe_gp.runs.progress import OnProgress

FIXED, BROKEN = 4, 2  # rows of the examples, as in the paper's Figure 16
HEADER = ["perturbation", "eps", "accuracy (%)", "gain (points)", "fixed", "broken", "p (McNemar)"]


def evaluate_with_page(
    settings: Classification, on_progress: OnProgress | None = None
) -> ClassificationResults:
    """``evaluate``, and the page beside its ``results.json``."""
    task = ClassificationTask.of(settings)
    run = run_task(task, on_progress)
    write_page(run, task)
    return run


def title_of(variant: Variant) -> str:
    """For people."""
    place = {"neighbour": "gradient at the neighbour", "test": "gradient at the test image"}
    return f"{neighbours_of(variant.features, variant.k)}, {place[variant.gradient_at]}"


def neighbours_of(features: str, k: int) -> str:
    """'3 neighbours by ip1'."""
    return f"{k} neighbour{'s' if k > 1 else ''} by {features}"


def outcomes(run: ClassificationResults, title: str) -> Table:
    """Every variant at every eps."""
    table = Table(title, HEADER)
    table.add("none (base)", "", points(run.accuracy()), "", "", "", "")
    for variant in run.variants:
        chosen = run.chosen_eps(variant)
        vote = points(run.vote(variant.features, variant.k))
        table.add(f"vote of {neighbours_of(variant.features, variant.k)}", "", vote, "", "", "", "")
        for eps in run.reported_eps(variant):
            found = run.outcome(variant, eps)
            verdict = "" if not found.gain or found.p > 0.05 else GOOD if found.gain > 0 else BAD
            table.add(
                title_of(variant),
                f"{eps:g}{' (chosen)' if eps == chosen else ''}",
                points(found.accuracy),
                Cell(signed(found.gain), verdict),
                str(found.fixed),
                str(found.broken),
                f"{found.p:.2g}",
            )
    table.note = (
        "Gains are marked where McNemar's exact test says p <= 0.05. Fixed: "
        "wrong before and right after; broken: the other way round."
    )
    return table


def curve(
    run: ClassificationResults,
    x_title: str,
    variants: Sequence[Variant] | None = None,
    paper: float | None = None,
) -> Any:
    """Accuracy over eps, a line for each variant (default: all): a matplotlib figure.

    paper   the paper's gain in points, drawn above the base
    """
    with figures.style():
        figure = figures.new(3.6, figures.PLOT)
        axes = figure.add_subplot(1, 1, 1)
        figures.curves_axes(axes, x_title, "accuracy (%)")
        base = 100 * run.accuracy()
        axes.axhline(base, color=GREY, linestyle="--", linewidth=0.9, label=f"base {base:.2f}")
        axes.axvline(0, color=GREY, linewidth=0.6)
        if paper is not None:
            axes.axhline(base + paper, color=PAPER, linestyle=":", label=f"paper's gain {paper:+.2f}")
        shown = run.variants if variants is None else variants
        for variant, (colour, look) in zip(shown, figures.looks()):
            steps = sorted({0.0, *run.eps})
            values = [100 * float((run.at(variant, eps) == run.truth).mean()) for eps in steps]
            axes.plot(steps, values, look, color=colour, label=title_of(variant))
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=1)
        figure.tight_layout()
    return figure


def sheet(task: ClassificationTask, shown: Sequence[Example]) -> Any:
    """Test image, neighbours, sum of their gradients' signs, perturbed input; one row an example."""
    train, test = task.settings.train, task.settings.test
    rows = []
    for i, example in enumerate(shown):
        names = [test.classes[label] for label in (example.base, example.after, example.truth)]
        neighbours = [train.images[row] for row in example.neighbours]
        cells = [colours(image) for image in (test.images[example.row], *neighbours)]
        titles = ["test image", *(f"neighbour {j + 1}" for j in range(len(example.neighbours)))]
        if example.perturbed is not None:
            cells += [pictures.amplify(example.step), example.perturbed]
            titles += ["signs, summed", "perturbed"]
        classes = ", ".join(test.classes[label] for label in example.neighbour_classes)
        fixed = example.after == example.truth
        heading = ""
        if not i or fixed != (shown[i - 1].after == shown[i - 1].truth):
            heading = "corrected" if fixed else "broken"
        rows.append(
            figures.PictureRow(
                [figures.Picture(cell, nearest=True) for cell in cells],
                f"image {example.row}: '{names[0]}' becomes '{names[1]}', it is '{names[2]}'; "
                f"neighbours: {classes}",
                () if i else titles,
                heading,
            )
        )
    return figures.sheet(rows)


def colours(image: np.ndarray) -> np.ndarray:
    """An image of a set, (H, W, C) RGB or grey, as (H, W, 3) BGR."""
    return np.ascontiguousarray(np.broadcast_to(image[:, :, ::-1], (*image.shape[:2], 3)))


def shown(run: ClassificationResults) -> tuple[Variant, float]:
    """What the examples are of: the first variant, at the chosen eps or else the first positive one."""
    variant = run.variants[0]
    positive = [eps for eps in run.eps if eps > 0]
    return variant, run.chosen_eps(variant) or (positive or run.eps)[0]


def _claim(run: ClassificationResults, variant: Variant, eps: float) -> Claim:
    outcome = run.outcome(variant, eps)
    sure = Verdict.HOLDS if outcome.p <= 0.05 else Verdict.WEAKLY
    return Claim(
        "Guided perturbations towards the nearest neighbours' classes raise the accuracy.",
        "Table 6",
        f"gain in accuracy (points), {title_of(variant)}, eps {eps:g}",
        "MNIST +0.23, CIFAR-10 +0.64",
        f"{signed(outcome.gain)} ({outcome.fixed} images fixed, {outcome.broken} broken)",
        sure if outcome.gain > 0 else Verdict.NOT,
        "Holds: the accuracy rises, and McNemar's exact test says p <= 0.05. Weakly: it rises.",
    )


def write_page(run: ClassificationResults, task: ClassificationTask) -> Path:
    """Write table.md, index.html and the figures into the run's folder; returns the page."""
    settings, data, folder = task.settings, run.origin["data"], task.folder.path
    net = settings.module or settings.model or Path(settings.prototxt).name
    variant, eps = shown(run)
    figures.save(
        curve(run, f"eps (units of {run.origin['method']['blob']})"), folder, "curve", figures.CURVES
    )
    over = data["images"]["name"]
    drawn = [
        Figure("curve", f"Accuracy on {over} over eps. Negative steps go against the neighbours' classes.")
    ]
    changed = examples(task, run, variant, eps, FIXED, BROKEN)
    if changed:
        figures.save(sheet(task, changed), folder, "examples")
        rule = "the first images that were corrected, then the first that were broken"
        drawn.append(Figure("examples", f"{title_of(variant)}, eps {eps:g}: {rule}."))
    tables = [outcomes(run, f"{len(run.truth)} images of {over}")]
    text = [
        f"{net}, before and after guided perturbations towards the classes of the nearest of "
        f"{data['train']['images']} training images ({data['train']['name']})."
    ]
    if run.tuning is not None:
        name = run.tuning.origin["data"]["images"]["name"]
        text.append(f"eps was chosen on {len(run.tuning.truth)} images of {name}, which the bank leaves out.")
        tables.append(outcomes(run.tuning, f"The images that eps was chosen on: {name}"))
    title = f"Nearest-neighbour GP: {net}"
    report = Report(
        "classification",
        title,
        [_claim(run, variant, eps)],
        text,
        tables=tables,
        figures=drawn,
        provenance=run.origin,
    )
    return report.write_page(folder)[-1]
