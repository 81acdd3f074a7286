"""One confusion matrix over a whole set of images, and the measures that segmentation papers take from it.

The matrix is accumulated over all images and only then turned into a mean IU; averaging per image gives other
(and misleading) numbers. Pixels whose ground truth is 255 are dropped; nothing else is.
Measures as in section 4.1 of the paper: with n_ij the pixels of class i labelled j and t_i = sum_j n_ij,
IU_i = n_ii / (t_i + sum_j n_ji - n_ii).
"""

from __future__ import annotations

import warnings
from typing import Sequence

import numpy as np

from caffe_gp.errors import DataError

IGNORE = 255


class ConfusionMatrix:
    """Counts of (ground truth, predicted) pixels: ``matrix[i, j]``, int64.

    classes  number of classes; labels are 0..classes-1
    Update with label maps, merge with others of the same size; ``state()`` and ``from_state()`` go through
    JSON. Measures are fractions in 0..1; a class that neither occurs nor is predicted is left out of means.
    """

    def __init__(self, classes: int) -> None:
        if not 1 <= classes <= IGNORE:
            raise DataError(f"a confusion matrix has 1 to {IGNORE} classes, found {classes}")
        self.classes = classes
        self.matrix = np.zeros((classes, classes), np.int64)

    def __repr__(self) -> str:
        return f"ConfusionMatrix(classes={self.classes}, pixels={int(self.matrix.sum())})"

    def update(self, truth: np.ndarray, predicted: np.ndarray) -> ConfusionMatrix:
        """Count label maps of any equal shapes, integers. Returns itself.

        Raises DataError for shapes that differ and for labels outside 0..classes-1 (ground truth may also be
        255); then nothing is counted.
        """
        self.matrix += confusion(truth, predicted, self.classes)
        return self

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Add another matrix's counts. Returns itself."""
        if other.classes != self.classes:
            raise DataError(f"cannot merge confusion matrices of {self.classes} and {other.classes} classes")
        self.matrix += other.matrix
        return self

    def state(self) -> list:
        """The counts as nested lists of Python integers, for JSON."""
        return self.matrix.tolist()

    @classmethod
    def from_state(cls, state: list) -> ConfusionMatrix:
        """A matrix with the counts that ``state()`` gave. Raises DataError if they are not such counts."""
        counts = np.asarray(state)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.dtype.kind not in "iu":
            found = f"{counts.dtype} {counts.shape}"
            raise DataError(f"a confusion matrix is square and of integers, found {found}")
        if counts.size and counts.min() < 0:
            raise DataError(f"a confusion matrix has no negative counts, found {counts.min()}")
        out = cls(counts.shape[0])
        out.matrix += counts.astype(np.int64)
        return out

    @property
    def iu(self) -> np.ndarray:
        """Intersection over union of each class, (classes,) float64; nan where a class is absent."""
        return class_iu(self.matrix)

    @property
    def mean_iu(self) -> float:
        """Mean of the classes' IU; nan if there are no pixels."""
        return _mean(self.iu)

    @property
    def pixel_accuracy(self) -> float:
        """Share of pixels with the right label."""
        return _ratio(np.trace(self.matrix), self.matrix.sum())

    @property
    def class_accuracy(self) -> np.ndarray:
        """Share of each class's pixels with the right label, (classes,) float64; nan where it is absent."""
        return _divide(np.diag(self.matrix), self.matrix.sum(axis=1))

    @property
    def mean_accuracy(self) -> float:
        """Mean of the classes' accuracies."""
        return _mean(self.class_accuracy)

    @property
    def frequency_weighted_iu(self) -> float:
        """The classes' IU weighted with their share of the pixels."""
        share = self.matrix.sum(axis=1)
        present = share > 0
        return _ratio((share[present] * self.iu[present]).sum(), share.sum())

    def mean_iu_over(self, classes: Sequence[int]) -> float:
        """Mean IU of these classes alone; range(1, 60) is PASCAL-Context's mean over 59 classes of 60.

        Pixels of the other classes still count as wrong where they get one of these labels.
        """
        chosen = list(classes)
        if not all(0 <= one < self.classes for one in chosen):
            raise DataError(f"classes must be in 0..{self.classes - 1}, found {chosen}")
        return _mean(self.iu[chosen])

    def measures(self) -> dict:
        """All of them as plain numbers, for results.json."""
        return {
            "mean_iu": self.mean_iu,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "frequency_weighted_iu": self.frequency_weighted_iu,
            "iu": [None if np.isnan(value) else float(value) for value in self.iu],
            "pixels": int(self.matrix.sum()),
        }


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """The (classes, classes) int64 counts of one pair of label maps; see ConfusionMatrix.update."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise DataError(f"label maps of one shape expected, found {truth.shape} and {predicted.shape}")
    for name, labels in (("ground truth", truth), ("prediction", predicted)):
        if labels.dtype.kind not in "iub":
            raise DataError(f"{name}: labels must be integers, found {labels.dtype}")
    counted = truth != IGNORE
    # int64: a product of uint8 labels would wrap round.
    i, j = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    for name, labels in (("ground truth", i), ("prediction", j)):
        if labels.size and not (labels.min() >= 0 and labels.max() < classes):
            raise DataError(
                f"{name}: labels must be 0..{classes - 1}, found {labels.min()}..{labels.max()}"
                + (" (palette colours read as labels?)" if name == "ground truth" else "")
            )
    return np.bincount(i * classes + j, minlength=classes * classes).reshape(classes, classes)


def sparse(counts: np.ndarray) -> list[list[int]]:
    """[truth, label, pixels] of every pair that occurs in a matrix, for JSON: an image has few classes."""
    return [[int(t), int(p), int(counts[t, p])] for t, p in zip(*np.nonzero(counts))]


def add_sparse(entries: Sequence[Sequence[int]], into: np.ndarray) -> None:
    """Add the counts that ``sparse`` wrote to a (classes, classes) matrix."""
    for truth, label, pixels in entries:
        into[truth, label] += pixels


def class_iu(matrix: np.ndarray) -> np.ndarray:
    """IU of each class of one matrix or of a stack of them, (..., classes); nan where a class is absent."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return _divide(hits, matrix.sum(axis=-1) + matrix.sum(axis=-2) - hits)


def image_mean_iu(matrices: np.ndarray) -> np.ndarray:
    """(N,) mean IU of each of (N, C, C) matrices over the classes that occur in it; nan where none does."""
    found, counted = np.full(len(matrices), np.nan), matrices.any(axis=(1, 2))
    found[counted] = np.nanmean(class_iu(matrices[counted]), axis=1)
    return found


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)


def _ratio(a: float, b: float) -> float:
    return float(a) / float(b) if b > 0 else float("nan")


def _mean(values: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all nan: the answer is nan
        return float(np.nanmean(values))
