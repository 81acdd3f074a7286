"""What one engine computes for a net and a batch of images, and how far another engine's results are from it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_gp.engine import GPNet
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.gp.passes import TruncatedPass

FORWARD_LIMIT, BACKWARD_LIMIT = 1e-5, 1e-4
# A pixel whose two best classes tie may fall either way. Of all label maps of a net, so many may differ.
LABELS_LIMIT = 1e-4
# Numbers kept of an array in a golden file.
SAMPLE = 64


def observe(loaded: GPNet, images: np.ndarray, eps: float) -> dict[str, np.ndarray]:
    """One guided perturbation of ``images`` at the input, step ``eps``.

    score   class scores of the first pass, float32
    diff    what the one-hot error signal at the scores has become at the input, float32
    base, moved   label maps before and after the step
    A score of one channel, a probability, has no Softmax: see ``_observe_one_channel``.
    """
    if loaded.net.blobs[loaded.score].data.shape[1] == 1:
        return _observe_one_channel(loaded, images, eps)
    net, found = loaded.net, {}

    def keep_scores(done: int, total: int, what: str) -> None:
        if done == 1:
            found["score"] = net.blobs[loaded.score].data.copy()

    result = GuidedPerturbation(loaded, on_progress=keep_scores)(images, eps)
    found["diff"] = net.blobs[loaded.data].diff.copy()
    found["base"], found["moved"] = result.base_labels, result.labels
    return found


def _observe_one_channel(loaded: GPNet, images: np.ndarray, eps: float) -> dict[str, np.ndarray]:
    """The same for a foreground probability: label 1 where it exceeds 1/2, and a signal of +1 or -1."""
    net = loaded.net
    data, score = net.blobs[loaded.data], net.blobs[loaded.score]
    data.reshape(*images.shape)
    data.data[...] = images
    net.forward()
    found = {"score": score.data.copy(), "base": (score.data[:, 0] > 0.5).astype(np.int32)}
    score.diff[...] = np.where(score.data > 0.5, 1, -1)
    TruncatedPass(net, loaded.data, loaded.score).backward()
    found["diff"] = data.diff.copy()
    data.data[...] = images + np.float32(eps) * np.sign(found["diff"])
    net.forward()
    found["moved"] = (score.data[:, 0] > 0.5).astype(np.int32)
    return found


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


@dataclass
class Distance:
    """How far two engines' results are apart.

    forward, backward   max|a - b| / max|b| of the scores, of the diff at the input
    base, moved, pixels label maps: pixels that differ, before and after the step, and their number
    """

    forward: float
    backward: float
    base: int
    moved: int
    pixels: int

    def within_limits(self) -> bool:
        """Whether the engines agree as 'The method' wants them to."""
        return (
            self.forward <= FORWARD_LIMIT
            and self.backward <= BACKWARD_LIMIT
            and max(self.base, self.moved) <= LABELS_LIMIT * self.pixels
        )


def distance(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> Distance:
    """Between two results of ``observe``, or two of ``sampled``."""
    return Distance(
        relative_error(ours["score"], theirs["score"]),
        relative_error(ours["diff"], theirs["diff"]),
        _differing(ours["base"], theirs["base"]),
        _differing(ours["moved"], theirs["moved"]),
        theirs["base"].size,
    )


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max|a - b| / max|b|; infinite for other shapes or numbers that are not finite."""
    if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def _differing(ours: np.ndarray, theirs: np.ndarray) -> int:
    return int((ours != theirs).sum()) if ours.shape == theirs.shape else theirs.size


def summary(found: dict[str, Any]) -> str:
    """One line about a result, to see that it is not degenerate."""
    scores = found["score"]
    labels = np.unique(found["base"])
    moved = float((found["base"] != found["moved"]).mean())
    return (
        f"scores {scores.shape} {scores.min():.3g}..{scores.max():.3g}, {labels.size} labels, "
        f"largest diff {np.abs(found['diff']).max():.3g}, {moved:.1%} moved"
    )
