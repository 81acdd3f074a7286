"""One picture that somebody looks at, and what the net said of it: arrays only, so nets can be shared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Iterator, NamedTuple

import numpy as np

from caffe_gp.gp import GPResult
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.images.placing import Placing
from caffe_gp.images.preprocess import Canvas, Preprocess, Size


class Method(NamedTuple):
    """What is chosen on the page besides eps."""

    blob: str
    encoding: str
    iterations: int

    def same_diff(self, other: Method | None) -> bool:
        """Whether the first two passes of both are one and the same."""
        return other is not None and (self.blob, self.encoding) == (other.blob, other.encoding)


@dataclass(frozen=True)
class Curve:
    """One picture across eps.

    eps         (E,) smallest first, 0 among them
    confidence  (E,) mean over the picture's pixels
    scores      (E, C, h, w), or (E, C) of a net that labels whole images; None where they are too large
    passes      of the net that this took
    """

    eps: np.ndarray
    confidence: np.ndarray
    scores: np.ndarray | None
    passes: int


@dataclass(frozen=True)
class Area:
    """A class, its share of the picture before and after; of a classifier its probability."""

    label: int
    before: float
    after: float


@dataclass(frozen=True)
class Pixel:
    """A place in the picture, 0..1 from its left and top, and in the net's scores."""

    x: float
    y: float
    row: int
    column: int


@dataclass(frozen=True)
class Look:
    """A picture, as somebody sees it at one method and eps. Never changed: what follows is a new one.

    name      of the file, for people
    size      (width, height) of the file; feed: how it was fed; canvas: its pixels at display size, and what
              the net is fed; truth: labels at display size, where they are known
    placing   where the scores lie in the input
    base      the result that more steps go from: base labels, blob and diff
    after     the result at ``eps``
    usual     an eps that suits the blob, which the page's slider is made for; note: where it comes from
    curve     across eps; None: not computed yet
    pixel     that was clicked; pixel_scores: (E, C) there, along the curve's eps
    """

    name: str
    size: Size
    feed: Preprocess
    canvas: Canvas
    truth: np.ndarray | None = None
    placing: Placing = None
    method: Method | None = None
    eps: float = 0.0
    usual: float = 0.0
    note: str = ""
    base: GPResult | None = None
    after: GPResult | None = None
    curve: Curve | None = None
    pixel: Pixel | None = None
    pixel_scores: np.ndarray | None = None

    @property
    def images(self) -> np.ndarray:
        """(1, C, H, W) as the net is fed."""
        return self.canvas.data[np.newaxis]

    @property
    def found(self) -> GPResult:
        """The result at ``eps``; only of a look that was made with a method."""
        assert self.after is not None
        return self.after

    @property
    def whole(self) -> bool:
        """Whether the net labels the picture as a whole."""
        return self.base is not None and self.base.base_labels.size == 1

    @property
    def nbytes(self) -> int:
        """What its arrays take."""
        held = {id(one): one.nbytes for part in (self, self.canvas, self.base, self.after, self.curve)
                for one in _arrays(part)}  # fmt: skip
        return sum(held.values())

    def with_result(self, method: Method, eps: float, after: GPResult, base: GPResult | None) -> Look:
        """At another eps or method. ``base`` is None where it stays what it was."""
        if method == self.method:
            return replace(self, eps=eps, after=after, base=base or self.base)
        return replace(
            self,
            method=method,
            eps=eps,
            after=after,
            base=base or self.base,
            curve=None,
            pixel_scores=None,
        )

    # ---- what is shown

    def maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Label maps before and after at display size, (h, w)."""
        both = (self.found.base_labels[0], self.found.labels[0])
        before, after = (self.feed.labels_to_image(labels, self.canvas, self.placing) for labels in both)
        return before, after

    def areas(self) -> list[Area]:
        """The classes that occur, largest before first; of a classifier the ten likeliest."""
        if self.whole:
            assert self.found.base_probabilities is not None and self.found.probabilities is not None
            before, after = (y[0].ravel() for y in (self.found.base_probabilities, self.found.probabilities))
            order = np.argsort(-np.maximum(before, after), kind="stable")[:10]
            return [Area(int(label), float(before[label]), float(after[label])) for label in order]
        counts = [np.bincount(labels[labels != IGNORE].ravel(), minlength=1) for labels in self.maps()]
        classes = max(map(len, counts))
        before, after = (np.pad(one, (0, classes - len(one))) / max(1, one.sum()) for one in counts)
        order = np.argsort(-np.maximum(before, after), kind="stable")
        return [
            Area(int(label), float(before[label]), float(after[label]))
            for label in order
            if before[label] or after[label]
        ]

    def confidence(self) -> tuple[float, float]:
        """Mean over the picture before and after."""
        return self.mean(self.found.base_confidence[0]), self.mean(self.found.confidence[0])

    def mean(self, values: np.ndarray) -> float:
        """Mean of a map over the picture, without the canvas' padding where the map shows it."""
        if values.shape == self.canvas.data.shape[1:]:
            values = values[: self.canvas.valid[0], : self.canvas.valid[1]]
        return float(values.mean(dtype=np.float64))

    def step(self) -> np.ndarray:
        """What eps multiplied, (C, h, w) or (C,); of the input without the canvas' padding."""
        moved = self.found.perturbation[0]
        if moved.shape == self.canvas.data.shape:
            return moved[:, : self.canvas.valid[0], : self.canvas.valid[1]]
        return moved

    def perturbed(self) -> np.ndarray | None:
        """The perturbed input as a picture, (h, w, 3) uint8 BGR; None where an inner blob was moved."""
        moved = self.found.perturbation[0]
        if moved.shape != self.canvas.data.shape:
            return None
        picture = self.feed.picture(self.canvas.data + np.float32(self.eps) * moved.astype(np.float32))
        return picture[: self.canvas.valid[0], : self.canvas.valid[1]]

    def place(self, x: float, y: float) -> Pixel | None:
        """The pixel of the scores at a place of the picture, 0..1 from left and top; None outside of them."""
        if self.whole:
            return Pixel(x, y, 0, 0)
        scores = self.found.base_labels.shape[1:]
        # Label maps know where scores lie: one that holds each score's own number tells which is seen there.
        numbers = np.arange(int(np.prod(scores)), dtype=np.int32).reshape(scores)
        seen, inside = (
            self.feed.labels_to_image(one, self.canvas, self.placing)
            for one in (numbers, np.zeros(scores, np.uint8))
        )
        at = tuple(min(int(share * size), size - 1) for share, size in zip((y, x), seen.shape))
        if inside[at] == IGNORE:
            return None
        row, column = np.unravel_index(int(seen[at]), scores)
        return Pixel(x, y, int(row), int(column))


def _arrays(part: Any) -> Iterator[np.ndarray]:
    for value in vars(part).values() if part is not None else ():
        if isinstance(value, np.ndarray):
            yield value
