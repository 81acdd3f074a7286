"""How sure a gain in mean IU is: the paired bootstrap over images.

Images are drawn with replacement, the same ones for both methods; their confusion matrices are summed and the
difference of the mean IUs is taken. The spread of these differences is the gain's uncertainty due to the
choice of images. (Errors of neighbouring pixels depend on each other, so pixels must not be drawn.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe_gp.errors import DataError
from caffe_gp.evaluation.confusion import class_iu


@dataclass
class Gain:
    """A difference of mean IUs (fractions) with its bootstrap interval.

    gain         mean IU of the second method minus that of the first, over all images
    low, high    bounds of the central interval that holds ``level`` of the resampled gains
    level        0.95 for a 95 % interval
    above_zero   share of the resampled gains above zero
    samples      number of resamples
    """

    gain: float
    low: float
    high: float
    level: float
    above_zero: float
    samples: int

    def points(self) -> dict:
        """The numbers in percentage points, for tables and results.json."""
        return {
            "gain": 100 * self.gain,
            "low": 100 * self.low,
            "high": 100 * self.high,
            "level": self.level,
            "above_zero": self.above_zero,
            "samples": self.samples,
        }


def paired_gain(
    first: np.ndarray, second: np.ndarray, samples: int = 2000, level: float = 0.95, seed: int = 0
) -> Gain:
    """Gain of ``second`` over ``first`` in mean IU with a percentile bootstrap interval.

    first, second   (N, classes, classes) integers: one confusion matrix per image, the same images in order
    Raises DataError if they do not fit together or hold no image.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 3 or first.shape[1] != first.shape[2] or not len(first):
        shapes = f"{first.shape} and {second.shape}"
        raise DataError(f"one confusion matrix per image expected from both methods, found {shapes}")
    if not np.array_equal(first.sum(axis=2), second.sum(axis=2)):
        raise DataError("the two methods were scored on different pixels: their images or order differ")
    images, classes = first.shape[:2]
    random = np.random.RandomState(seed)
    # How often each image is drawn, then one matrix product sums the matrices of every resample.
    # float64 holds these integer counts exactly.
    flat = np.concatenate([first.reshape(images, -1), second.reshape(images, -1)], axis=1)
    flat = flat.astype(np.float64)
    gains = np.empty(samples)
    for begin in range(0, samples, 200):
        end = min(begin + 200, samples)
        drawn = random.randint(0, images, (end - begin, images))
        times = np.stack([np.bincount(row, minlength=images) for row in drawn]).astype(np.float64)
        sums = (times @ flat).reshape(end - begin, 2, classes, classes)
        iu = class_iu(sums)
        gains[begin:end] = np.nanmean(iu[:, 1], axis=1) - np.nanmean(iu[:, 0], axis=1)
    whole = np.nanmean(class_iu(second.sum(axis=0))) - np.nanmean(class_iu(first.sum(axis=0)))
    tail = 50 * (1 - level)
    low, high = np.percentile(gains, [tail, 100 - tail])
    return Gain(float(whole), float(low), float(high), level, float(np.mean(gains > 0)), samples)
