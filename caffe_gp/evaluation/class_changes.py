"""Classes of whole images before and after guided perturbations, of a run: as a table and as a picture."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np

from caffe_gp.evaluation.labelled_images import LabelledImages
from caffe_gp.evaluation.results import RunResults
from caffe_gp.images.reading import read_bgr
from caffe_gp.report import panels
from caffe_gp.report.experiment_report import Table
from caffe_gp.report.pictures import display_size, resize

LISTED = 60  # images in the table
SHOWN, _COLUMNS = 8, 4  # images in the picture, in rows of so many
_LARGEST = 640  # pixels of an image there, before it is fitted into its column

Named = Tuple[str, List[Tuple[str, float]]]  # an image, and its class with the probability, base first


def classes_of(run: RunResults) -> list[Named]:
    """Each image's class and its probability, before and at every eps."""

    def named(entry: dict[str, Any]) -> tuple[str, float]:
        label = entry["label"]
        name = run.class_names[label] if label < len(run.class_names) else f"class {label}"
        return name, entry["confidence"]

    records = run.origin["records"]
    return [(one["item"], [named(entry) for entry in [one["base"], *one["gp"]]]) for one in records]


def most_moved(run: RunResults) -> list[Named]:
    """The images, those whose class changes first, each kind by how far a probability moves."""

    def moved(one: Named) -> tuple[bool, float]:
        (_, before), *after = one[1]
        return _changes(one), max(abs(p - before) for _, p in after)

    return sorted(classes_of(run), key=moved, reverse=True)


def _changes(one: Named) -> bool:
    """Whether its class does."""
    return len({name for name, _ in one[1]}) > 1


def table(run: RunResults, found: Sequence[Named]) -> Table:
    """The ``most_moved`` images of a run."""
    header = ["image", "base: class", "base: probability"]
    for eps in run.eps:
        header += [f"eps {eps:g}: class", f"eps {eps:g}: probability"]
    made = Table(f"{sum(map(_changes, found)):,} of {len(found):,} images change their class", header)
    if len(found) > LISTED:
        made.note = f"The {LISTED} that move most; results.json has all."
    for item, labels in found[:LISTED]:
        made.add(item, *(text for name, p in labels for text in (name, f"{p:.4f}")))
    return made


def picture(run: RunResults, found: Sequence[Named], data: LabelledImages) -> np.ndarray:
    """The first of the ``most_moved``, (H, W, 3) uint8 BGR: above each its name and its classes."""
    cells = []
    for item, labels in found[:SHOWN]:
        steps = ["base", *(f"eps {eps:g}" for eps in run.eps)]
        lines = [f"{step}: {name} {p:.3f}" for step, (name, p) in zip(steps, labels)]
        image = read_bgr(data.image(item))
        shown = resize(image, display_size(image.shape, _LARGEST))
        cells.append(panels.Cell("\n".join([item, *lines]), shown))
    rows = [cells[first : first + _COLUMNS] for first in range(0, len(cells), _COLUMNS)]
    return panels.grid(rows, columns=min(_COLUMNS, len(cells)))
