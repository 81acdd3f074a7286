"""How far a net's probabilities can be trusted: calibration error, log likelihood and entropy of its pixels.

Each image leaves sums, from which the measures of any set of images follow::

    sums = sums_of(probabilities, truth)            # what a record keeps
    measures([sums, ...])["expected_calibration_error"]

Pixels whose ground truth is 255 are not counted. Without ground truth there is the entropy alone.
"""

from __future__ import annotations

import math
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp.errors import DataError, NetError
from caffe_gp.files.fields import integer, items, mapping, need, number
from caffe_gp.images.label_maps import IGNORE

BINS = 15  # of equal width over 0..1; the last one holds 1
# Smaller probabilities count as this one, the smallest normal float32: an impossible label costs 87.3.
_LEAST = np.float32(np.finfo(np.float32).tiny)
_MOST_NLL = -math.log(float(_LEAST)) + 1e-3
_ROUNDING = 1e-3  # of sums of float32
_DIGITS = 9


def sums_of(y: np.ndarray, truth: np.ndarray | None, inside: np.ndarray | None = None) -> dict[str, Any]:
    """The sums of one image that a record keeps.

    y       (C, H, W) float32 probabilities
    truth   (H, W) integers, 255 where nothing is counted; None: without ground truth
    inside  (H, W) bool: False where there is no score, so nothing is counted
    Returns pixels; entropy and nll, sums over them in nats; bins: [bin, pixels, right, sum of confidence] of
    each bin that holds a pixel. Raises NetError where the probabilities are none,
    DataError for labels of no class.
    """
    counted = np.ones(y.shape[1:], bool) if inside is None else inside
    if truth is not None:
        counted = counted & (truth != IGNORE)
    pixels = int(np.count_nonzero(counted))
    entropy = _entropy(y)[counted].sum(dtype=np.float64)
    if not np.isfinite(entropy):
        raise NetError("the net's probabilities hold NaN: its scores are not finite, nothing can be scored")
    sums: dict[str, Any] = {"pixels": pixels, "entropy": _short(entropy)}
    if truth is None:
        return sums
    if pixels and not 0 <= truth[counted].min() <= truth[counted].max() < len(y):
        raise DataError(f"ground truth: labels must be 0..{len(y) - 1}, found {truth[counted].max()}")
    confidence = y.max(axis=0)
    places = np.flatnonzero(counted)
    of_truth = np.ravel(y).take(truth.ravel()[places].astype(np.int64) * counted.size + places)
    right = np.zeros(counted.shape, bool)
    right.flat[places] = of_truth == confidence[counted]
    for label in range(len(y) - 1):  # of a tie the smaller class is the label
        right &= ~((y[label] == confidence) & (truth > label))
    sums["nll"] = _short(-np.log(np.maximum(of_truth, _LEAST)).sum(dtype=np.float64))
    confidence, right = confidence[counted], right[counted]
    of_bin = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    count = np.bincount(of_bin, minlength=BINS)
    hits = np.bincount(of_bin[right], minlength=BINS)
    sure = np.bincount(of_bin, weights=confidence, minlength=BINS)
    sums["bins"] = [[k, int(count[k]), int(hits[k]), _short(sure[k])] for k in np.flatnonzero(count).tolist()]
    return sums


def measures(entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The measures of the pixels of several images, by name; nothing where no pixel is counted.

    expected_calibration_error   |accuracy - confidence| of 15 bins of equal width, weighted by their pixels
    negative_log_likelihood      mean of -log of the right class's probability, in nats
    entropy                      mean over pixels, in nats
    """
    pixels = sum(entry["pixels"] for entry in entries)
    if not pixels:
        return {}
    found = {"entropy": math.fsum(entry["entropy"] for entry in entries) / pixels}
    if all("bins" in entry for entry in entries):
        found["negative_log_likelihood"] = math.fsum(entry["nll"] for entry in entries) / pixels
        apart = [
            abs(sum(right for right, _ in some) - math.fsum(sure for _, sure in some))
            for some in (
                [(right, sure) for entry in entries for at, _, right, sure in entry["bins"] if at == k]
                for k in range(BINS)
            )
        ]
        found["expected_calibration_error"] = math.fsum(apart) / pixels
    return found


def check_sums(value: Any, has_truth: bool, classes: int) -> int:
    """How many pixels are counted; ValueError, naming the field, for what ``sums_of`` cannot have given."""
    sums = mapping(value, "calibration")
    pixels = integer(sums.get("pixels"), "calibration.pixels", 0)
    most = pixels * (math.log(classes) + _ROUNDING)
    number(sums.get("entropy"), "calibration.entropy", -pixels * _ROUNDING, most)
    need(has_truth == ("bins" in sums) == ("nll" in sums), "calibration: bins and nll are of ground truth")
    if not has_truth:
        return pixels
    number(sums["nll"], "calibration.nll", -pixels * _ROUNDING, pixels * _MOST_NLL)
    last, total = -1, 0
    for entry in items(sums["bins"], "calibration.bins"):
        at, count, right, sure = items(entry, "calibration.bins", 4)
        last = integer(at, "calibration.bins: bin", last + 1, BINS - 1)
        total += integer(count, "calibration.bins: pixels", 1, pixels)
        integer(right, "calibration.bins: right", 0, count)
        low, high = (count * (edge / BINS + slack) for edge, slack in ((at, -_ROUNDING), (at + 1, _ROUNDING)))
        number(sure, "calibration.bins: confidence", low, high)
    need(total == pixels, "calibration.bins: their pixels do not add up to those counted")
    return pixels


def _entropy(y: np.ndarray) -> np.ndarray:
    """-sum y log y of each pixel, (H, W): class by class, so that no second copy of all is made."""
    total = np.zeros(y.shape[1:], np.float32)
    for one in y:
        total -= one * np.log(np.maximum(one, _LEAST))
    return total


def _short(value: Any) -> float:
    """Nine digits: what a sum of float32 holds at most, and short to write."""
    return float(f"{float(value):.{_DIGITS}g}")
