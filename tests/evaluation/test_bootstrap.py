"""The paired bootstrap against a resampling loop, and its coverage on made-up data."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import DataError
from caffe_gp.evaluation.bootstrap import paired_gain
from caffe_gp.evaluation.confusion import ConfusionMatrix

pytestmark = pytest.mark.engine


def images(seed, number=40, classes=3, right=(0.7, 0.75)):
    """Per-image matrices of two methods that label a pixel rightly with the given chances."""
    random = np.random.RandomState(seed)
    out = np.zeros((2, number, classes, classes), np.int64)
    for image in range(number):
        truth = random.randint(0, classes, 200)
        for method, chance in enumerate(right):
            predicted = np.where(random.uniform(size=200) < chance, truth, random.randint(0, classes, 200))
            np.add.at(out[method, image], (truth, predicted), 1)
    return out


def mean_iu(matrices):
    return ConfusionMatrix.from_state(matrices.sum(axis=0).tolist()).mean_iu


def test_gain_and_interval_equal_a_plain_loop():
    first, second = images(0)
    found = paired_gain(first, second, samples=300, seed=5)
    assert found.gain == pytest.approx(mean_iu(second) - mean_iu(first))
    random = np.random.RandomState(5)
    drawn = np.concatenate([random.randint(0, 40, (200, 40)), random.randint(0, 40, (100, 40))])
    gains = sorted(mean_iu(second[rows]) - mean_iu(first[rows]) for rows in drawn)
    # Between the neighbours of the 2.5 % and 97.5 % places of 300 sorted values.
    assert gains[7] <= found.low <= gains[8] and gains[291] <= found.high <= gains[292]
    assert found.above_zero == pytest.approx(np.mean(np.array(gains) > 0))
    assert found.points()["gain"] == pytest.approx(100 * found.gain)


def test_a_method_against_itself_gains_nothing():
    first, _ = images(1)
    found = paired_gain(first, first, samples=100)
    assert (found.gain, found.low, found.high, found.above_zero) == (0, 0, 0, 0)


def test_interval_covers_the_true_gain_about_as_often_as_it_says():
    first, second = images(2, number=4000)
    true = mean_iu(second) - mean_iu(first)
    inside = 0
    for k in range(80):
        part = slice(50 * k, 50 * k + 50)
        found = paired_gain(first[part], second[part], samples=400, seed=k)
        inside += found.low <= true <= found.high
    assert inside >= 66  # 80 draws at 95 %: fewer than 66 has a chance below 1e-4; at 80 % it is usual


def test_matrices_that_do_not_pair_are_refused():
    first, second = images(3)
    with pytest.raises(DataError, match="per image"):
        paired_gain(first, second[:-1])
    with pytest.raises(DataError, match="different pixels"):
        paired_gain(first, second[::-1])
    with pytest.raises(DataError):
        paired_gain(first[:0], second[:0])
