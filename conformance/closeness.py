"""How close two arrays are, and how close they must be."""

from __future__ import annotations

from typing import Dict, Tuple

import numpy as np

# How many labels of a kind differ, and of how many, by kind.
Differing = Dict[str, Tuple[int, int]]

FORWARD_LIMIT, BACKWARD_LIMIT = 1e-5, 1e-4
# A pixel whose two best classes tie may fall either way. Of all label maps of a net, so many may differ.
LABELS_LIMIT = 1e-4


def relative_error(ours: np.ndarray, theirs: np.ndarray, least: float = 1e-30) -> float:
    """max|a - b| / max(max|b|, least); infinite for other shapes or numbers that are not finite."""
    if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    if not theirs.size:
        return 0.0
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), least))


def differing(ours: np.ndarray, theirs: np.ndarray) -> int:
    """How many labels differ; all of them where the shapes do."""
    return int((ours != theirs).sum()) if ours.shape == theirs.shape else theirs.size


def too_many(counts: Differing) -> list[str]:
    """The kinds of which more labels differ than LABELS_LIMIT allows, for people."""
    return [
        f"{kind}: {differ} of {size} labels differ"
        for kind, (differ, size) in counts.items()
        if differ > LABELS_LIMIT * size
    ]
