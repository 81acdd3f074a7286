"""Which images and which step the figures show: by rule, from the records, never by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from caffe_gp.datasets.segmentation import SegmentationSet
from caffe_gp.evaluation.segmentation import RunResults
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net
from caffe_gp.images.reading import read_bgr

RULE = "pixels corrected minus pixels broken"


@dataclass(frozen=True)
class Picked:
    """An image and how many of its pixels became right and wrong."""

    item: str
    fixed: int
    broken: int

    def text(self) -> str:
        """For a caption."""
        return f"{self.item}: {self.fixed:,} pixels corrected, {self.broken:,} broken"


def step(bench: Bench, net: Net) -> float:
    """The step of a net's figures: the paper's or the tuned one; where tuning chose none, the smallest."""
    return bench.one_eps(bench.gp(net)) or net.grid[0]


def successes(run: RunResults, eps: float, number: int) -> list[Picked]:
    """The images with the most pixels corrected minus pixels broken, best first; only gains."""
    return [image for image in _ranked(run, eps) if image.fixed > image.broken][:number]


def failures(run: RunResults, eps: float, number: int) -> list[Picked]:
    """The images with the fewest, worst first; only losses."""
    return [image for image in reversed(_ranked(run, eps)) if image.fixed < image.broken][:number]


def best(run: RunResults, eps: float) -> Picked:
    """The first success; where there is none, the image that lost least."""
    return _ranked(run, eps)[0]


def symmetric(net: Net) -> list[float]:
    """The net's steps up to its span, negative ones first, without 0."""
    inside = sorted(value for value in net.grid if value <= net.span)
    return [*(-value for value in reversed(inside)), *inside]


def with_base(eps: Sequence[float], values: Sequence[float], base: float) -> tuple[list[float], list[float]]:
    """A curve over eps with the base put in at 0."""
    pairs = sorted([*zip(map(float, eps), values), (0.0, base)])
    return [x for x, _ in pairs], [y for _, y in pairs]


def photograph(data: SegmentationSet, item: str) -> np.ndarray:
    """An image of a set, (H, W, 3) uint8 BGR."""
    return read_bgr(data.image(item))


def _ranked(run: RunResults, eps: float) -> list[Picked]:
    k = run.eps.index(eps)
    order = np.argsort(run.broken[k] - run.fixed[k], kind="stable")
    return [Picked(run.ids[i], int(run.fixed[k][i]), int(run.broken[k][i])) for i in order]
