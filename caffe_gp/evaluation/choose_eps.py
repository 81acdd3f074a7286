"""Choosing eps without labels: the step that closes a given share of the net's confidence gap.

With c(eps) the mean confidence over pixels, the gap that a step closes is (c(eps) - c(0)) / (1 - c(0)). The
best steps of nets differ a hundredfold, the gap that they close does not (docs/choosing_eps.md has the
figures, and where this fails).

    choice = find_eps(measure, unit=1.0)   # measure: steps -> c(0) and c of each
    choice.eps, choice.closed
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from caffe_gp.errors import DataError, UsageError
from caffe_gp.evaluation.labelled_images import LabelledImages

AUTO = "auto"  # what ``eps`` says where it is to be chosen
SHARE, IMAGES = 0.25, 20  # of the gap, and how many images it is measured on

Measure = Callable[[Sequence[float]], "tuple[float, Sequence[float]]"]

_SWEEP = range(-4, 3)  # powers of _FACTOR times the unit
_FACTOR = 4.0
_FURTHER = 3  # values more where the sweep holds no answer
_MOST_SWEEPS = 5
_MOST_ROUNDS = 5
_TOLERANCE = 0.04  # of the share that is to be closed
_LEAST_GAP = 1e-6  # a net that is this sure has nothing to gain
_LEAST_RISE = 0.01  # of the gap: less is no answer to the step
# Where the confidence never rises so far, this share of its highest rise is taken: on the nets that were
# measured, a quarter of the gap is about as much.
_OF_THE_PEAK = 0.5


@dataclass(frozen=True)
class EpsChoice:
    """A step that was chosen without labels.

    eps      the step; closed: the share of the gap that it was measured to close; share: what was asked for
    base     c(0), the mean confidence before
    curve    (eps, confidence, share of the gap) of every step that was tried, smallest first
    images   the names of those that it was measured on
    passes   passes of the net that an image took
    note     '' or what was wrong with the confidence, a sentence
    """

    eps: float
    closed: float
    share: float
    base: float
    curve: tuple[tuple[float, float, float], ...]
    images: tuple[str, ...] = ()
    passes: int = 0
    note: str = ""

    def record(self) -> dict[str, Any]:
        """As results keep it, JSON-ready."""
        curve = [{"eps": eps, "confidence": c, "gap_closed": closed} for eps, c, closed in self.curve]
        return {
            "eps": self.eps,
            "gap_closed": self.closed,
            "share": self.share,
            "base_confidence": self.base,
            "curve": curve,
            "images": list(self.images),
            "passes": self.passes,
            "note": self.note,
        }


def check_choice(share: float, images: int) -> None:
    """UsageError for a share of the gap, or a number of images, that makes no sense."""
    if not 0 < share < 1:
        raise UsageError(f"eps_share is a share of the confidence gap, above 0 and below 1, found {share:g}")
    if images < 1:
        raise UsageError(f"eps_images: at least one image is needed to choose eps on, found {images}")


def words(choice: dict[str, Any]) -> str:
    """The record of a choice as a line of text."""
    note = f"; {choice['note']}" if choice["note"] else ""
    return (
        f"eps {choice['eps']:g} was chosen without labels: it closes {choice['gap_closed']:.3f} of the "
        f"confidence gap of {len(choice['images'])} image(s), {choice['share']:g} was asked for{note}"
    )


def find_eps(measure: Measure, unit: float, share: float = SHARE) -> EpsChoice:
    """The smallest step that closes ``share`` of the gap, by a geometric sweep and then ever closer values.

    measure   c(0) and c of each of some steps; called a few times. The same values give the same choice.
    unit      a step in the middle of the sweep: a grey level at the input
    Where the confidence saturates or falls before, half of its highest rise is aimed at; ``note`` says so.
    Raises DataError where no step raises the confidence, and where the net is sure already.
    """
    check_choice(share, 1)
    search = _Search(measure)
    search.sweep(unit, share)
    aim, note = share, ""
    eps, closed = search.values()
    peak = int(np.argmax(closed))
    if closed[peak] < share:
        if closed[peak] < _LEAST_RISE:
            raise DataError(
                f"eps cannot be chosen without labels: no step of {eps[0]:g} to {eps[-1]:g} closes more than "
                f"{max(closed[peak], 0):.2g} of the confidence gap (confidence {search.base:.4f} before): "
                "give eps"
            )
        aim = _OF_THE_PEAK * float(closed[peak])
        note = (
            f"the confidence rises by {closed[peak]:.3f} of the gap at most, at eps {eps[peak]:g}, and a "
            "larger step does harm, so half of that rise was aimed at: look at the results twice"
        )
    return replace(search.refine(aim), share=share, note=note)


class _Search:
    """The steps that were measured so far."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._found: dict[float, float] = {}
        self.base, self.passes = 0.0, 0

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps, smallest first, and the share of the gap that each closes."""
        eps = np.array(sorted(self._found))
        confidence = np.array([self._found[one] for one in eps])
        return eps, (confidence - self.base) / (1 - self.base)

    def add(self, steps: Sequence[float]) -> None:
        """Measure steps, those of them that are new."""
        new = sorted({_rounded(one) for one in steps} - set(self._found))
        if not new:
            return
        base, confidence = self._measure(new)
        values = np.array([base, *confidence], np.float64)
        if len(values) != 1 + len(new) or not np.isfinite(values).all():
            raise DataError(f"eps cannot be chosen: at the steps {new} the net's confidence is no number")
        if 1 - base < _LEAST_GAP:
            raise DataError(
                f"eps cannot be chosen without labels: the net is sure of every pixel (mean confidence "
                f"{base:.7f}), so no gap is left to close: give eps, or check that the images are scaled as "
                "the net expects"
            )
        self.base = float(base)
        self._found.update(zip(new, map(float, confidence)))
        self.passes += 2 + len(new)

    def sweep(self, unit: float, share: float) -> None:
        """Measure powers of four, until they hold where the confidence begins to rise and goes no further."""
        low, high = _SWEEP[0], _SWEEP[-1]
        self.add([unit * _FACTOR**k for k in _SWEEP])
        for _ in range(_MOST_SWEEPS):
            _, closed = self.values()
            if not 0 <= closed[0] < min(share, max(closed.max(), 0)):
                self.add([unit * _FACTOR**k for k in range(low - _FURTHER, low)])
                low -= _FURTHER
            elif closed.max() < share and closed.argmax() == len(closed) - 1:
                self.add([unit * _FACTOR**k for k in range(high + 1, high + 1 + _FURTHER)])
                high += _FURTHER
            else:
                return

    def refine(self, aim: float) -> EpsChoice:
        """Measure ever closer to where the confidence first rises to ``aim``."""
        for _ in range(_MOST_ROUNDS):
            eps, closed = self.values()
            at = int(np.argmax(closed >= aim))
            if at == 0 or abs(closed[at - 1 : at + 1] - aim).min() <= _TOLERANCE * aim:
                break
            (low, high), (below, above) = eps[at - 1 : at + 1], closed[at - 1 : at + 1]
            before = len(eps)
            # Linear in log eps; the middle as well, for curves that are all but linear.
            self.add([low * (high / low) ** ((aim - below) / (above - below)), np.sqrt(low * high)])
            if len(self._found) == before:
                break
        eps, closed = self.values()
        at = int(np.argmax(closed >= aim))
        near = at - 1 if at and abs(closed[at - 1] - aim) <= abs(closed[at] - aim) else at
        curve = tuple((float(one), self._found[one], float(share)) for one, share in zip(eps, closed))
        return EpsChoice(float(eps[near]), float(closed[near]), aim, self.base, curve, passes=self.passes)


def _rounded(eps: float) -> float:
    """Three digits: a step that people can read and give again."""
    return float(f"{eps:.3g}")


@dataclass(frozen=True)
class WithoutLabels:
    """Some images of a set, as if there were no label maps. A ``LabelledImages``."""

    of: LabelledImages
    ids: tuple[str, ...]

    @classmethod
    def first(cls, data: LabelledImages, count: int) -> WithoutLabels:
        """The first images of ``data``."""
        return cls(data, tuple(data.ids[:count]))

    @property
    def name(self) -> str:
        """For people and keys."""
        return f"{self.of.name}, {len(self.ids)} images to choose eps on"

    @property
    def classes(self) -> tuple[str, ...]:
        """The set's."""
        return self.of.classes

    @property
    def background_counts(self) -> bool:
        """The set's."""
        return self.of.background_counts

    @property
    def has_truth(self) -> bool:
        """No."""
        return False

    def image(self, item: str) -> Path:
        """The set's."""
        return self.of.image(item)

    def label_file(self, item: str) -> Path | None:
        """None."""
        return None

    def truth(self, item: str, classes: int | None = None) -> np.ndarray:
        """DataError: nobody may ask."""
        raise DataError(f"{self.name}: eps is chosen without labels, so '{item}' has none here")

    def absolute(self) -> WithoutLabels:
        """The same with absolute paths."""
        return replace(self, of=self.of.absolute())

    def describe(self) -> dict[str, Any]:
        """What a result says about its images."""
        return {**self.of.describe(), "name": self.name, "images": len(self.ids), "labels": None}
