"""Images whose label a perturbation changed, with what moved them: for figures and pages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe_gp.evaluation.classification import ClassificationTask
from caffe_gp.evaluation.classification_results import ClassificationResults, Variant


@dataclass
class Example:
    """An image whose label a perturbation changed.

    row          in the test set
    neighbours   (K,) rows of the training set, and their classes
    truth, base, after   labels
    step         int8 like the blob: the sum of the signs; eps / K times it was added
    perturbed    (H, W, 3) uint8 BGR, the perturbed input; None where an inner blob was moved
    """

    row: int
    neighbours: np.ndarray
    neighbour_classes: np.ndarray
    truth: int
    base: int
    after: int
    step: np.ndarray
    perturbed: np.ndarray | None


def examples(
    task: ClassificationTask,
    run: ClassificationResults,
    variant: Variant,
    eps: float,
    fixed: int,
    broken: int,
) -> list[Example]:
    """The first test images that the perturbation fixed, then the first that it broke."""
    before, after = run.base == run.truth, run.at(variant, eps) == run.truth
    rows = np.concatenate([np.flatnonzero(after & ~before)[:fixed], np.flatnonzero(before & ~after)[:broken]])
    if not len(rows):
        return []
    worker = task.open(task.device)
    images = task.images.images[rows]
    neighbours = run.neighbours[variant.features][rows, : variant.k]
    steps = worker.steps(images, neighbours, variant.gradient_at)
    data = worker.preprocess.batch(images)
    at_input = worker.method.blob == worker.method.input
    found = []
    for i, row in enumerate(rows.tolist()):
        moved = data[i] + np.float32(eps / variant.k) * steps[i] if at_input else None
        found.append(
            Example(
                row,
                neighbours[i],
                task.settings.train.labels[neighbours[i]],
                int(run.truth[row]),
                int(run.base[row]),
                int(run.at(variant, eps)[row]),
                steps[i],
                None if moved is None else worker.preprocess.picture(moved),
            )
        )
    return found
