"""Choice of eps: by hand on small matrices, and folds that do not look at themselves."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import DataError
from caffe_gp.evaluation.tuning import best_eps, cross_validate, mean_iu

pytestmark = pytest.mark.engine


def matrix(right, wrong):
    """Two classes with ``right`` pixels of each labelled rightly and ``wrong`` taken for the other."""
    return np.array([[right, wrong], [wrong, right]])


def test_best_eps_by_hand():
    base = np.stack([matrix(8, 2)] * 3)
    after = np.stack([[matrix(7, 3)] * 3, [matrix(9, 1)] * 3, [matrix(9, 1)] * 3])
    assert mean_iu(base) == pytest.approx(8 / 12)
    assert best_eps([-0.5, 0.5, 0.2], after, base) == 0.2  # the smaller of two equals
    assert best_eps([-0.5], after[:1], base) == 0  # nothing helps
    with pytest.raises(DataError, match="2 eps need"):
        best_eps([0.1, 0.2], after, base)


def test_mean_iu_is_of_the_sum():
    matrices = np.stack([matrix(1, 0), matrix(0, 9)])
    assert mean_iu(matrices) == pytest.approx(1 / 19)


def test_a_fold_has_no_say_in_its_eps():
    """One image gains enormously at eps 1, all others lose: only its own fold must not choose 1."""
    images = 10
    base = np.stack([matrix(50, 50)] * images)
    after = np.stack([[matrix(49, 51)] * images])
    base[3], after[0, 3] = matrix(0, 100_000), matrix(100_000, 0)
    found = cross_validate([1.0], after, base, folds=5)
    assert sorted(np.bincount(found.folds)) == [2] * 5
    for fold in range(5):
        assert found.eps[fold] == (0.0 if found.folds[3] == fold else 1.0)
    for image in range(images):
        expected = base[image] if found.folds[image] == found.folds[3] else after[0, image]
        assert np.array_equal(found.matrices[image], expected)
    with pytest.raises(DataError, match="10 images cannot"):
        cross_validate([1.0], after, base, folds=11)
