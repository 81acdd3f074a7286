"""What a guided perturbation found: labels and confidences, for one eps or stacked for several."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

import numpy as np

from caffe_gp.errors import NetError
from caffe_gp.gp import encodings
from caffe_gp.images import notebook

_MOST_PICTURES = 6  # in a notebook


@dataclass
class GPResult:
    """What one call found; every array is a copy that no later pass overwrites.

    ``labels``, ``confidence``, ``perturbation`` and ``probabilities`` have the shapes below for a single eps.
    For a list of E values they are stacked: an axis E is in front, so ``labels`` is (E, N, H, W) and
    ``labels[k]`` belongs to ``eps[k]``. For classification nets (score N x C) there is no H, W.

    eps                 the values, in the units of the perturbed blob
    base_labels         (N, H, W): argmax before the perturbation, uint8 for up to 256 classes, else int32
    labels              (N, H, W): argmax after it, likewise
    base_confidence     (N, H, W) float32: largest Softmax probability before
    confidence          (N, H, W) float32: the same after
    perturbation        int8, shaped like the blob: the sum over iterations of sign(diff); times eps it is
                        what was added. With one iteration it is the same for every eps: for a list, a
                        read-only view of one array. float32 for other steps than signs.
    None unless asked for:
    base_probabilities, probabilities   (N, C, H, W) float32
    base_scores, scores   likewise, what the Softmax gets
    base_blob, blob     the blob's values before and after, float32
    diff                the blob's first diff, float32, the same for every eps

    seconds             'forward', 'backward', 'forward_perturbed': wall-clock time of all passes of that kind
    passes              number of passes of each of these kinds
    """

    eps: tuple[float, ...]
    base_labels: np.ndarray
    base_confidence: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    perturbation: np.ndarray
    base_probabilities: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    passes: dict[str, int] = field(default_factory=dict)
    base_scores: np.ndarray | None = None
    scores: np.ndarray | None = None
    base_blob: np.ndarray | None = None
    blob: np.ndarray | None = None
    diff: np.ndarray | None = None

    @property
    def switched_labels(self) -> np.ndarray:
        """The label of the surer of both passes at each pixel, shaped like ``labels``; base on ties."""
        return np.where(self.confidence > self.base_confidence, self.labels, self.base_labels)

    def __repr__(self) -> str:
        """What is of interest in one look, without arrays."""
        changed = [float((labels != self.base_labels).mean()) for labels in self._each(self.labels)]
        confidence = [float(values.mean()) for values in self._each(self.confidence)]
        steps = ", ".join(
            f"eps {eps:g}: {100 * share:.2f} % changed, confidence {sure:.4f}"
            for eps, share, sure in zip(self.eps, changed, confidence)
        )
        shape = " x ".join(map(str, self.base_labels.shape))
        return f"<GPResult of {shape} labels, confidence {float(self.base_confidence.mean()):.4f}; {steps}>"

    def _repr_html_(self) -> str:
        """The same as a table, and the labels of the first image as pictures."""
        rows = [["before", "", f"{float(self.base_confidence.mean()):.4f}"]]
        maps = [("before", self.base_labels)]
        for eps, labels, sure in zip(self.eps, self._each(self.labels), self._each(self.confidence)):
            changed = f"{100 * float((labels != self.base_labels).mean()):.2f} %"
            rows.append([f"eps {eps:g}", changed, f"{float(sure.mean()):.4f}"])
            maps.append((f"eps {eps:g}", labels))
        shape = " x ".join(map(str, self.base_labels.shape))
        found = notebook.table(f"labels {shape}", ["", "changed", "confidence"], rows)
        if self.base_labels.ndim != 3 or self.base_labels.dtype != np.uint8:
            return found
        return found + notebook.pictures([(name, labels[0]) for name, labels in maps[:_MOST_PICTURES]])

    def _each(self, values: np.ndarray) -> Sequence[np.ndarray]:
        """Those of every eps."""
        return list(values) if values.ndim > self.base_labels.ndim else [values]


class Opinions:
    """Labels and confidences of ``count`` forward passes, and probabilities if kept: (count, N, ...) each.

    Copied out of the net pass by pass into arrays that hold them all, so that nothing is held twice.
    """

    labels: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray | None = None
    scores: np.ndarray | None = None

    def __init__(
        self, count: int, keep_probabilities: bool, scores: Callable[[], np.ndarray] | None = None
    ) -> None:
        """scores: gives those of the last pass, if they are to be kept."""
        self._count, self._keep, self._scores, self._done = count, keep_probabilities, scores, 0

    def add(self, y: np.ndarray) -> None:
        """Take the opinion of a pass from its probabilities (N, C, ...)."""
        labels, confidence = encodings.most_confident(y)
        if not self._done:
            self.labels = np.empty((self._count, *labels.shape), labels.dtype)
            self.confidence = np.empty((self._count, *confidence.shape), confidence.dtype)
            if self._keep:
                self.probabilities = np.empty((self._count, *y.shape), y.dtype)
        if labels.shape != self.labels.shape[1:]:
            raise NetError(
                f"a pass made labels of shape {labels.shape}, the one before of {self.labels.shape[1:]}: "
                "labels of different things cannot be compared"
            )
        self.labels[self._done], self.confidence[self._done] = labels, confidence
        if self.probabilities is not None:
            self.probabilities[self._done] = y
        if self._scores is not None:
            z = self._scores()
            if self.scores is None:
                self.scores = np.empty((self._count, *z.shape), z.dtype)
            self.scores[self._done] = z
        self._done += 1


def gp_result(
    eps: float | Sequence[float],
    values: tuple[float, ...],
    base: Opinions,
    after: Opinions,
    perturbations: Sequence[np.ndarray],
    seconds: dict[str, float],
    passes: dict[str, int],
) -> GPResult:
    """The result of a call: of its only pass for a single eps, of all its passes for a list."""
    which: Any = 0 if np.ndim(eps) == 0 else slice(None)  # the only one of a single eps, or all
    return GPResult(
        eps=values,
        base_labels=base.labels[0],
        base_confidence=base.confidence[0],
        labels=after.labels[which],
        confidence=after.confidence[which],
        perturbation=np.asarray(perturbations[0]) if which == 0 else _stacked(perturbations),
        base_probabilities=None if base.probabilities is None else base.probabilities[0],
        probabilities=None if after.probabilities is None else after.probabilities[which],
        base_scores=None if base.scores is None else base.scores[0],
        scores=None if after.scores is None else after.scores[which],
        seconds=seconds,
        passes=passes,
    )


def _stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The arrays with an axis in front; a read-only view where all are one and the same."""
    first = arrays[0]
    if all(array is first for array in arrays):
        return np.broadcast_to(np.asarray(first), (len(arrays), *first.shape))
    return np.stack([np.asarray(array) for array in arrays])
