"""What an engine computes for a net and a batch of images, and how far another engine is from it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_gp.engines import GPNet
from caffe_gp.gp import GuidedPerturbation, encodings
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
    A score of one channel, of foreground, has no Softmax: its label is 1 where it is positive, and the signal
    is +1 there and -1 elsewhere.
    """
    net = loaded.net
    data, score = net.blobs[loaded.data], net.blobs[loaded.score]
    found = {}
    if score.data.shape[1] > 1:

        def keep_scores(done: int, total: int, what: str) -> None:
            if done == 1:
                found["score"] = score.data.copy()

        result = GuidedPerturbation(loaded, on_progress=keep_scores)(images, eps)
        found["diff"] = data.diff.copy()
        found["base"], found["moved"] = result.base_labels, result.labels
        return found
    data.reshape(*images.shape)
    data.data[...] = images
    net.forward()
    found = {"score": score.data.copy(), "base": (score.data[:, 0] > 0).astype(np.int32)}
    score.diff[...] = _signal(score.data)
    TruncatedPass(net, loaded.data, loaded.score).backward()
    found["diff"] = data.diff.copy()
    data.data[...] = images + np.float32(eps) * np.sign(found["diff"])
    net.forward()
    found["moved"] = (score.data[:, 0] > 0).astype(np.int32)
    return found


# ---- the gradient apart from its jumps
#
# The gradient of ReLU, Clip and MAX pooling jumps where their input crosses a kink or two inputs tie. Scores
# that agree to 1e-6 therefore come with gradients that differ visibly at a few pixels of a deep net, on any
# two programs. To compare the backward passes themselves, one engine is given the other's activations.

_LINEAR = ("Input", "Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "Scale", "Bias", "Crop",
           "Concat", "Tile", "Dropout", "Reshape", "Flatten", "BN", "DepthwiseConvolution", "Interp",
           "Upsample", "LRN")  # fmt: skip


def activations(loaded: GPNet, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every blob of the net for one image (1, C, H, W) and, as 'diff', the diff at the input over them.

    Blobs that Split layers make are left out: they are copies.
    """
    net = loaded.net
    data, score = net.blobs[loaded.data], net.blobs[loaded.score]
    data.reshape(*image.shape)
    data.data[...] = image
    net.forward()
    score.diff[...] = _signal(score.data)
    blobs = {name: blob.data.copy() for name, blob in net.blobs.items() if "_split_" not in name}
    TruncatedPass(net, loaded.data, loaded.score).backward()
    return {"diff": data.diff.copy(), **{f"blob {name}": values for name, values in blobs.items()}}


def score_on(loaded: GPNet, theirs: dict[str, np.ndarray]) -> np.ndarray:
    """The scores for another engine's image, with the places that its MAX pooling chose.

    Unpooling puts values where pooling found them, so a tie that falls the other way moves whole values.
    """
    net = loaded.net
    net.blobs[loaded.data].reshape(*theirs[f"blob {loaded.data}"].shape)
    net.blobs[loaded.data].data[...] = theirs[f"blob {loaded.data}"]
    for i, (name, layer) in enumerate(zip(net._layer_names, net.layers)):
        net._forward(i, i)
        if layer.type == "Pooling":
            for mask in net.top_names[name][1:]:
                net.blobs[mask].data[...] = theirs[f"blob {mask}"]
    return net.blobs[loaded.score].data.copy()


def score_from(loaded: GPNet, theirs: dict[str, np.ndarray], blob: str) -> tuple[np.ndarray, np.ndarray]:
    """Our value of ``blob``, and the scores that the layers after it make of another engine's value of it."""
    net = loaded.net
    net.blobs[loaded.data].data[...] = theirs[f"blob {loaded.data}"]
    net.forward()
    ours = net.blobs[blob].data.copy()
    net.blobs[blob].data[...] = theirs[f"blob {blob}"]
    names = list(net._layer_names)
    maker = max(i for i, name in enumerate(names) if blob in net.top_names[name])
    net._forward(maker + 1, len(names) - 1)
    return ours, net.blobs[loaded.score].data.copy()


def diff_on(loaded: GPNet, theirs: dict[str, np.ndarray]) -> np.ndarray:
    """The diff at the input of a backward pass over another engine's activations."""
    net = loaded.net
    blobs = {key[len("blob ") :]: values for key, values in theirs.items() if key.startswith("blob ")}
    net.blobs[loaded.data].reshape(*blobs[loaded.data].shape)
    net.blobs[loaded.data].data[...] = blobs[loaded.data]
    net.forward()

    def put(names: list[str]) -> None:
        for name in names:
            if name in blobs:
                net.blobs[name].data[...] = blobs[name]

    put(list(blobs))
    for i, (name, layer) in enumerate(zip(net._layer_names, net.layers)):
        if layer.type not in _LINEAR:  # let it see their input, for what it remembers until its backward
            net._forward(i, i)
            put(net.top_names[name])
    put(list(blobs))
    net.blobs[loaded.score].diff[...] = _signal(blobs[loaded.score])
    TruncatedPass(net, loaded.data, loaded.score).backward()
    return net.blobs[loaded.data].diff.copy()


def labels_after(loaded: GPNet, image: np.ndarray, diff: np.ndarray, eps: float) -> np.ndarray:
    """The label map after one step of ``eps`` along the sign of ``diff``."""
    net = loaded.net
    net.blobs[loaded.data].data[...] = image + np.float32(eps) * np.sign(diff)
    net.forward()
    return net.blobs[loaded.score].data.argmax(1)


def _signal(scores: np.ndarray) -> np.ndarray:
    """The error signal of the scores' own labels."""
    if scores.shape[1] == 1:
        return np.where(scores > 0, 1, -1)
    probabilities = encodings.softmax(scores)
    return encodings.error_signal(probabilities, encodings.label_distribution("onehot", probabilities))


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

    forward    max|a - b| / max|b| of the scores
    spread     norm of a - b / norm of b of the diffs at the input, jumps included
    flipped    share of the diffs at the input whose sign differs
    base, moved, pixels   label maps: pixels that differ, before and after the step, and their number
    backward   max|a - b| / max|b| of the diff at the input on the same activations; None if not looked at
    """

    forward: float
    spread: float
    flipped: float
    base: int
    moved: int
    pixels: int
    backward: float | None = None

    def within_limits(self, labels: float = LABELS_LIMIT) -> bool:
        """Whether the engines agree, ``labels`` being the share of pixels that may differ."""
        return (
            self.forward <= FORWARD_LIMIT
            and (self.backward is None or self.backward <= BACKWARD_LIMIT)
            and max(self.base, self.moved) <= labels * self.pixels
        )


def distance(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> Distance:
    """Between two results of ``observe``."""
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


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max|a - b| / max|b|; infinite for other shapes or numbers that are not finite."""
    if ours.shape != theirs.shape or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def differing(ours: np.ndarray, theirs: np.ndarray) -> int:
    """How many labels differ; all of them where the shapes do."""
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
