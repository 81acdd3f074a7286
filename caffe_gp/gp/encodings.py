"""Label distributions ``l`` and the error signal that is sent back through the net (section 7 of the paper).

Arrays have the class axis second: (N, C, H, W) for segmentation, (N, C) for classification. ``y`` is the
Softmax output, ``l`` a label distribution, ``z`` the score (the Softmax input).
"""

from __future__ import annotations

import inspect
import zlib
from typing import Callable, Sequence, Union

import numpy as np

from caffe_gp.errors import DataError, UsageError, check_array, did_you_mean

IGNORE_LABEL = 255

ENCODINGS = (
    *("onehot", "random-onehot", "uniform", "top2", "soft", "ground-truth", "thresholded-onehot"),
    "entropy",
)
# Made of what gives the same bits on a GPU; the logarithm of the other one does not.
_ON_DEVICE = tuple(name for name in ENCODINGS if name != "entropy")
#: A name, or a function of probabilities (y) -> l, or of scores and probabilities (z, y) -> signal.
Encoding = Union[str, Callable[..., np.ndarray]]
INJECTIONS = ("score", "softmax-output")

_FEW_PIXELS = 256  # measured


def softmax(z: np.ndarray) -> np.ndarray:
    """Softmax over axis 1, with the maximum subtracted first as Caffe's layer does."""
    _check_classes(z, "scores")
    y = np.exp(z - z.max(axis=1, keepdims=True))
    y /= y.sum(axis=1, keepdims=True)
    return y


def most_confident(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most confident class at every pixel (the smaller one of a tie) and its value: (N, ...) each.

    Labels are uint8 where the classes allow it, else int32. One class after the other: numpy's argmax over
    the second axis takes several times as long, but where there are few pixels.
    """
    kind = np.uint8 if y.shape[1] <= 256 else np.int32
    if len(y) and y[:, 0].size <= _FEW_PIXELS:
        confidence = y.max(axis=1)
        if not np.isnan(confidence).any():  # which argmax would take for the largest
            return y.argmax(axis=1).astype(kind), confidence
    confidence = y[:, 0].copy()
    labels = np.zeros_like(confidence, dtype=kind)
    for c in range(1, y.shape[1]):
        np.copyto(labels, c, where=y[:, c] > confidence, casting="unsafe")
        np.maximum(confidence, y[:, c], out=confidence)
    return labels, confidence


def error_signal(y: np.ndarray, l: np.ndarray) -> np.ndarray:  # noqa: E741 (the paper's letter)
    """Eq. (5): dy/dz = (l . y)(l - y), to be written to the diff of the score blob.

    For a one-hot ``l`` it is the gradient of that class's probability, so a step along it raises the
    net's confidence in the label. DataError for arrays of different shapes, or of other than floats.
    """
    _check_pair(y, l)
    return (l * y).sum(axis=1, keepdims=True) * (l - y)


def softmax_output_signal(y: np.ndarray, l: np.ndarray) -> np.ndarray:  # noqa: E741
    """What reaches the score blob when ``l`` itself is the diff of the Softmax *output*: y (l - l . y).

    This is Caffe's Softmax backward. It equals eq. (5) for one-hot ``l`` only; for a uniform ``l`` it is
    zero, and for ``l = y`` (the authors' demo) eq. (5) is zero and this is not. DataError as there.
    """
    _check_pair(y, l)
    return y * (l - (l * y).sum(axis=1, keepdims=True))


def entropy_signal(y: np.ndarray) -> np.ndarray:
    """The direction at the score in which the entropy H of ``y`` falls: -dH/dz = y (ln y + H).

    What test-time entropy minimisation descends (TENT, arXiv 2006.10726), per pixel. DataError for other
    arrays than floats.
    """
    _check_classes(y, "probabilities")
    logarithms = np.log(np.maximum(y, np.finfo(y.dtype).tiny))
    entropy = -(y * logarithms).sum(axis=1, keepdims=True)
    return y * (logarithms + entropy)


def signal_of(
    encoding: Encoding,
    inject: str,
    y: np.ndarray,
    z: Callable[[], np.ndarray],
    *,
    truth: np.ndarray | None = None,
    seeds: list[list[int]] | None = None,
    threshold: float | None = None,
) -> np.ndarray:
    """The error signal at the score of an encoding, shaped like the probabilities ``y``.

    z   gives the scores: only a function (z, y) -> signal needs them
    The other arguments are those of ``label_distribution``. DataError where a function gives something else
    than floats of that shape.
    """
    if encoding == "entropy":
        return entropy_signal(y)
    if callable(encoding) and _takes(encoding) == 2:
        signal = encoding(z(), y)
        check_array(signal, "what the encoding's function gives", "f", y.shape)
        return signal.astype(y.dtype)
    if callable(encoding):
        distribution = encoding(y)
        check_array(distribution, "what the encoding's function gives", "f", y.shape)
        distribution = distribution.astype(y.dtype)
    else:
        distribution = label_distribution(encoding, y, truth=truth, seeds=seeds, threshold=threshold)
    return (error_signal if inject == "score" else softmax_output_signal)(y, distribution)


def can_stay_on_device(encoding: Encoding, shape: Sequence[int]) -> bool:
    """Whether ``signal_of`` takes probabilities of a shape as they are on a GPU, not only numpy's.

    Functions get numpy's arrays. Without pixels numpy takes sums in another order, and little is copied.
    """
    return encoding in _ON_DEVICE and any(size > 1 for size in shape[2:])


def label_distribution(
    encoding: str,
    y: np.ndarray,
    *,
    truth: np.ndarray | None = None,
    seeds: list[list[int]] | None = None,
    threshold: float | None = None,
) -> np.ndarray:
    """The distribution ``l`` of one encoding, shaped like ``y``; sums to 1 over classes at every pixel.

    encoding: one of ENCODINGS but 'entropy', which is no distribution.
        onehot         1 at the largest y (the pseudo label; ties go to the smaller class)
        random-onehot  1 at a class drawn uniformly for every pixel; ``seeds``: one seed sequence an image
        uniform        1/C everywhere
        top2           1/2 at each of the two largest y
        soft           y itself (only useful at the Softmax output)
        ground-truth   1 at ``truth``, an integer array shaped like ``y`` without the class axis;
                       all zeros (hence no signal) where it is 255
        thresholded-onehot   1 at the largest y, and all zeros where that is below ``threshold``
    Raises DataError for missing or impossible ground truth and for a ``y`` that is none, UsageError for an
    unknown encoding.
    """
    _check_classes(y, "probabilities")
    if encoding == "onehot":
        return _onehot(most_confident(y)[0], y)
    if encoding == "random-onehot":
        if seeds is None:
            raise UsageError("encoding 'random-onehot' needs one seed for each image")
        if len(seeds) != len(y):
            raise DataError(f"encoding 'random-onehot': {len(seeds)} seeds for {len(y)} images")
        drawn = [np.random.RandomState(seed).randint(y.shape[1], size=y.shape[2:]) for seed in seeds]
        return _onehot(np.stack([np.asarray(classes) for classes in drawn]), y)
    if encoding == "uniform":
        return np.full_like(y, 1.0 / y.shape[1])
    if encoding == "top2":
        first = _onehot(most_confident(y)[0], y)
        second = _onehot(most_confident(np.where(first > 0, -np.inf, y))[0], y)
        return (first + second) / 2
    if encoding == "soft":
        return y.copy()
    if encoding == "ground-truth":
        return _from_truth(truth, y)
    if encoding == "thresholded-onehot":
        labels, confidence = most_confident(y)
        return _onehot(labels, y) * (confidence >= checked_threshold(encoding, threshold))[:, np.newaxis]
    raise UsageError(f"unknown encoding '{encoding}'; known are {', '.join(ENCODINGS)}")


def checked_threshold(encoding: Encoding, threshold: float | None) -> float:
    """The threshold. UsageError if one is missing that the encoding needs, is no probability, or idle."""
    if encoding != "thresholded-onehot":
        if threshold is not None:
            raise UsageError(f"a threshold is for encoding 'thresholded-onehot' only, not for {encoding!r}")
        return 0.0
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise UsageError(
            "encoding 'thresholded-onehot' needs a threshold in 0..1, like 0.9: the confidence below which a "
            f"pixel sends nothing; found {threshold!r}"
        )
    return float(threshold)


def image_seeds(images: np.ndarray, seed: int, iteration: int) -> list[list[int]]:
    """One seed an image, from the user's seed, the iteration and the image's content.

    So a random label map depends neither on the batch an image is in nor on what ran before it.
    """
    return [[seed, iteration, zlib.crc32(np.ascontiguousarray(image).tobytes())] for image in images]


def check_choice(encoding: Encoding, inject: str | None) -> str:
    """The place to inject an encoding at: ``inject``, or the encoding's own when it is None.

    Raises UsageError for unknown names, for signals that belong to the score, and for the two pairs whose
    signal is zero (or rounding noise, which ``sign`` would blow up to full steps).
    """
    if not callable(encoding) and encoding not in ENCODINGS:
        hint = did_you_mean(encoding, ENCODINGS) if isinstance(encoding, str) else ""
        raise UsageError(
            f"unknown encoding {encoding!r}{hint} (known: {', '.join(ENCODINGS)}, or a function of the "
            "probabilities, or of scores and probabilities)"
        )
    whole_signal = encoding == "entropy" or callable(encoding) and _takes(encoding) == 2
    if inject is None:
        return "softmax-output" if encoding == "soft" else "score"
    if inject not in INJECTIONS:
        raise UsageError(f"unknown place to inject '{inject}'; known are {', '.join(INJECTIONS)}")
    if whole_signal and inject != "score":
        raise UsageError(f"encoding {encoding!r} is a signal at the score: inject='score'")
    if (encoding, inject) == ("soft", "score"):
        raise UsageError(
            "encoding 'soft' (l = y) has a zero error signal at the score; inject='softmax-output'"
        )
    if (encoding, inject) == ("uniform", "softmax-output"):
        raise UsageError("encoding 'uniform' has a zero error signal at the Softmax output; inject='score'")
    return inject


def _takes(function: Callable[..., np.ndarray]) -> int:
    """How many arrays an encoding's function takes: 1 or 2, else UsageError."""
    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a builtin
        return 1
    required = [one for one in given if one.default is one.empty and one.kind in _POSITIONAL]
    if len(required) not in (1, 2):
        raise UsageError(
            f"an encoding's function takes the probabilities y, or scores and probabilities (z, y); this one "
            f"takes {len(required)} arguments: {function!r}"
        )
    return len(required)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _check_classes(y: np.ndarray, what: str) -> None:
    check_array(y, what, "f")
    if y.ndim < 2 or not y.shape[1]:
        raise DataError(f"{what} have the classes on axis 1, (N, C) or (N, C, H, W), found shape {y.shape}")


def _check_pair(y: np.ndarray, l: np.ndarray) -> None:  # noqa: E741
    _check_classes(y, "probabilities")
    check_array(l, "label distribution", "f", y.shape)


def _onehot(labels: np.ndarray, y: np.ndarray) -> np.ndarray:
    if isinstance(labels, np.ndarray) and hasattr(y, "beside"):  # drawn or given, and y is on a device
        labels = y.beside(labels)
    classes = np.arange(y.shape[1]).reshape((1, -1) + (1,) * (y.ndim - 2))
    return (labels[:, np.newaxis] == classes).astype(y.dtype)


def _from_truth(truth: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    expected = y.shape[:1] + y.shape[2:]
    if truth is None:
        raise DataError(f"encoding 'ground-truth' needs labels of shape {expected}, none were given")
    truth = np.asarray(truth)
    if truth.shape != expected:
        raise DataError(f"ground-truth labels of shape {truth.shape}, the net's scores need {expected}")
    if truth.dtype.kind not in "iu":
        raise DataError(f"ground-truth labels must be integers, found {truth.dtype}")
    wrong = (truth != IGNORE_LABEL) & ((truth < 0) | (truth >= y.shape[1]))
    if wrong.any():
        raise DataError(
            f"ground-truth label {truth[wrong][0]}: the net has {y.shape[1]} classes "
            f"(0..{y.shape[1] - 1}; {IGNORE_LABEL} is ignored)"
        )
    labels = _onehot(truth, y)
    if y.shape[1] > IGNORE_LABEL:
        labels *= (truth != IGNORE_LABEL)[:, np.newaxis]
    return labels
