"""How far two engines' results for a net and a batch of images are apart."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.closeness import BACKWARD_LIMIT, FORWARD_LIMIT, differing, relative_error

# Numbers kept of an array in a golden file.
SAMPLE = 64


def fingerprint(array: np.ndarray) -> int:
    """CRC-32 of the numbers."""
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def sampled(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Label maps whole, of other arrays ``SAMPLE`` numbers from all over and then the largest magnitude."""
    small = {}
    for key, array in found.items():
        if array.dtype.kind == "f":
            flat = array.ravel()
            chosen = flat[np.linspace(0, flat.size - 1, min(SAMPLE, flat.size)).astype(np.int64)]
            array = np.append(chosen, np.abs(flat).max()).astype(np.float32)
        small[key] = array
    return small


def golden(theirs: dict[str, Any], images: np.ndarray) -> dict[str, Any]:
    """The part of a recording that is committed."""
    found = {key: theirs[key] for key in ("score", "diff", "base", "moved")}
    return {
        "images": fingerprint(images),
        "own_change": theirs["own_change"],
        "arrays": sampled(found),
    }


@dataclass
class Distance:
    """How far two engines' results are apart.

    forward    max|a - b| / max|b| of the scores
    spread     norm of a - b / norm of b of the diffs at the input, jumps included
    flipped    share of the diffs at the input whose sign differs
    base, moved, pixels   label maps: pixels that differ, before and after the step, and their number
    """

    forward: float
    spread: float
    flipped: float
    base: int
    moved: int
    pixels: int


@dataclass
class Verdict:
    """How far two runs of a net are apart, by what is judged.

    forward          relative error of the scores; what a kink or a tie decides is left out (see the judges)
    backward         the same of the diff at the input, over the same activations; None if not looked at
    base, moved      labels that differ, before and after a step
    far              the same of the whole runs, each over its own activations
    labels_limit     how many labels may differ
    forward_limit    of ``forward``
    """

    forward: float
    backward: float | None
    base: int
    moved: int
    far: Distance
    labels_limit: float
    forward_limit: float = FORWARD_LIMIT

    def agrees(self) -> bool:
        """Whether every bound holds."""
        return (
            self.forward <= self.forward_limit
            and (self.backward is None or self.backward <= BACKWARD_LIMIT)
            and max(self.base, self.moved) <= self.labels_limit
        )

    def numbers(self) -> dict[str, float]:
        """What is judged, by name."""
        names = ("forward", "backward", "base", "moved")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def distance(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> Distance:
    """Between two results of ``observe.observe``."""
    a, b = ours["diff"].astype(np.float64), theirs["diff"].astype(np.float64)
    return Distance(
        relative_error(ours["score"], theirs["score"]),
        float(np.linalg.norm(a - b) / np.linalg.norm(b)),
        float((np.sign(a) != np.sign(b)).mean()),
        differing(ours["base"], theirs["base"]),
        differing(ours["moved"], theirs["moved"]),
        theirs["base"].size,
    )


def far_samples(ours: np.ndarray, theirs: np.ndarray, limit: float) -> float:
    """Share of the numbers of ``sampled`` arrays that differ by more than ``limit`` times the largest."""
    return float((np.abs(ours[:-1] - theirs[:-1]) > limit * theirs[-1]).mean())
