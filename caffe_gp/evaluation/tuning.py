"""Choosing eps: on images kept for it, or by cross-validation where there are none.

Both look at confusion matrices per image, so a sweep over eps is computed once and chosen from at will.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from caffe_gp.errors import DataError
from caffe_gp.evaluation.bootstrap import Gain, paired_gain
from caffe_gp.evaluation.confusion import class_iu


def mean_iu(matrices: np.ndarray) -> float:
    """Mean IU, a fraction, of the sum of (N, C, C) matrices."""
    return float(np.nanmean(class_iu(matrices.sum(axis=0))))


def best_eps(eps: Sequence[float], after: np.ndarray, base: np.ndarray) -> float:
    """The eps whose mean IU is highest; 0, no perturbation, where none beats ``base``.

    eps    E values
    after  (E, N, C, C) matrices of the N images for each of them
    base   (N, C, C) matrices before
    Ties go to the smaller step. Raises DataError if shapes do not fit.
    """
    if after.shape != (len(eps), *base.shape) or not len(eps):
        raise DataError(f"{len(eps)} eps need matrices {(len(eps), *base.shape)}, found {after.shape}")
    candidates = [(0.0, mean_iu(base)), *((float(e), mean_iu(m)) for e, m in zip(eps, after))]
    return max(candidates, key=lambda candidate: (candidate[1], -abs(candidate[0])))[0]


@dataclass
class CrossValidated:
    """A sweep scored with an eps that never saw the image it is scored on.

    eps     the choice for each fold; 0 where no step beat the base there
    folds   (N,) the fold of each image
    matrices   (N, C, C) each image's matrix at its fold's eps
    """

    eps: list[float]
    folds: np.ndarray
    matrices: np.ndarray


def cross_validate(
    eps: Sequence[float], after: np.ndarray, base: np.ndarray, folds: int = 5, seed: int = 0
) -> CrossValidated:
    """Score every fold of the images with the eps that was best on the other folds.

    eps, after, base   as in ``best_eps``
    Folds are drawn by ``seed`` and differ in size by at most one image. Raises DataError for fewer images
    than folds.
    """
    images = len(base)
    if not 2 <= folds <= images:
        raise DataError(f"{images} images cannot be cross-validated in {folds} folds")
    of_image = np.empty(images, np.int64)
    of_image[np.random.RandomState(seed).permutation(images)] = np.arange(images) % folds
    values = [float(value) for value in eps]
    chosen, matrices = [], base.copy()
    for fold in range(folds):
        inside = of_image == fold
        choice = best_eps(values, after[:, ~inside], base[~inside])
        chosen.append(choice)
        if choice:
            matrices[inside] = after[values.index(choice)][inside]
    return CrossValidated(chosen, of_image, matrices)


@dataclass
class Tuned:
    """The best step on labelled images.

    eps    0 where no step beat the base
    gain   in mean IU over these images, which chose it, with its bootstrap interval
    cross_validated   the same with steps that never saw the image they are scored on, in ``folds`` folds;
           None for fewer images than folds
    """

    eps: float
    gain: Gain
    cross_validated: Gain | None
    folds: int


def tuned(eps: Sequence[float], after: np.ndarray, base: np.ndarray, folds: int = 5) -> Tuned:
    """The best of some steps by mean IU, and how sure its gain is. eps, after, base: as in ``best_eps``."""
    best = best_eps(eps, after, base)
    chosen = after[[float(one) for one in eps].index(best)] if best else base
    held_out = None
    if len(base) >= folds:
        held_out = paired_gain(base, cross_validate(eps, after, base, folds).matrices)
    return Tuned(best, paired_gain(base, chosen), held_out, folds)
