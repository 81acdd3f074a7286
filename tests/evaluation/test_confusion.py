"""The confusion matrix against loops over pixels, and its measures against the formulas written out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_gp.errors import DataError
from caffe_gp.evaluation.confusion import ConfusionMatrix, add_sparse, confusion, sparse

pytestmark = pytest.mark.engine


def brute_force(truth, predicted, classes):
    counts = [[0] * classes for _ in range(classes)]
    for t, p in zip(truth.ravel().tolist(), predicted.ravel().tolist()):
        if t != 255:
            counts[t][p] += 1
    return counts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**31), st.sampled_from([np.uint8, np.int32, np.int64]))
def test_counts_equal_a_loop_over_pixels(classes, seed, dtype):
    random = np.random.RandomState(seed)
    shape = random.randint(1, 9, random.randint(1, 4))
    truth = random.randint(0, classes, shape).astype(dtype)
    truth[random.uniform(size=shape) < 0.2] = 255
    predicted = random.randint(0, classes, shape).astype(dtype)
    counts = brute_force(truth, predicted, classes)
    assert confusion(truth, predicted, classes).tolist() == counts
    assert ConfusionMatrix(classes).update(truth, predicted).state() == counts


def test_measures_equal_the_papers_formulas():
    n = [[50, 3, 2, 0], [4, 20, 0, 0], [1, 1, 9, 0], [0, 0, 0, 0]]
    matrix = ConfusionMatrix.from_state(n)
    ius, accuracies, weighted, total = [], [], 0.0, 90
    for i in range(3):
        t, p = sum(n[i]), sum(row[i] for row in n)
        ius.append(n[i][i] / (t + p - n[i][i]))
        accuracies.append(n[i][i] / t)
        weighted += t / total * ius[-1]
    assert matrix.iu[:3] == pytest.approx(ius) and np.isnan(matrix.iu[3])
    assert matrix.mean_iu == pytest.approx(sum(ius) / 3)
    assert matrix.pixel_accuracy == pytest.approx(79 / 90)
    assert matrix.mean_accuracy == pytest.approx(sum(accuracies) / 3)
    assert matrix.frequency_weighted_iu == pytest.approx(weighted)
    measures = json.loads(json.dumps(matrix.measures()))
    assert measures["iu"][3] is None and measures["pixels"] == 90


def test_a_class_only_predicted_counts_as_zero():
    # FCN's score.py: nan only where both row and column are empty.
    matrix = ConfusionMatrix.from_state([[8, 2], [0, 0]])
    assert matrix.iu.tolist() == [0.8, 0.0] and matrix.mean_iu == 0.4 and matrix.mean_accuracy == 0.8


def test_accumulated_is_not_the_mean_over_images():
    one, two = ConfusionMatrix.from_state([[9, 1], [0, 0]]), ConfusionMatrix.from_state([[1, 0], [4, 5]])
    per_image = (one.mean_iu + two.mean_iu) / 2
    both = ConfusionMatrix(2).merge(one).merge(two)
    assert both.state() == [[10, 1], [4, 5]]
    assert both.mean_iu == pytest.approx((10 / 15 + 5 / 10) / 2)
    assert abs(both.mean_iu - per_image) > 0.1


def test_more_pixels_than_float32_or_int32_can_count():
    # 2^24 + 1 is where a float32 counter stands still; 2^31 where int32 wraps round.
    truth = np.zeros(2**24 + 3, np.uint8)
    matrix = ConfusionMatrix(2).update(truth, truth)
    assert matrix.state()[0][0] == 2**24 + 3
    for _ in range(10):
        matrix.merge(matrix)
    assert matrix.state()[0][0] == (2**24 + 3) * 2**10
    # Labels of 8 bits must not wrap round in the product either.
    assert confusion(np.full(4, 20, np.uint8), np.full(4, 20, np.uint8), 21)[20, 20] == 4


def test_state_goes_through_json():
    matrix = ConfusionMatrix(3).update(np.array([0, 1, 2, 255]), np.array([0, 2, 2, 1]))
    again = ConfusionMatrix.from_state(json.loads(json.dumps(matrix.state())))
    assert again.state() == matrix.state() and again.classes == 3


def test_wrong_labels_are_refused_and_nothing_is_counted():
    matrix = ConfusionMatrix(3)
    good = np.array([0, 1, 2])
    for truth, predicted, message in (
        (np.array([0, 1, 3]), good, r"ground truth: labels must be 0\.\.2, found 0\.\.3"),
        (good, np.array([0, 1, 255]), r"prediction: labels must be 0\.\.2"),
        (good, np.array([-1, 1, 2]), "prediction"),
        (good, good[:2], "one shape"),
        (good.astype(np.float32), good, "integers"),
    ):
        with pytest.raises(DataError, match=message):
            matrix.update(truth, predicted)
    assert matrix.matrix.sum() == 0 and np.isnan(matrix.mean_iu) and np.isnan(matrix.pixel_accuracy)
    for state in ([[1, 2]], [[-1]], [[0.5]], [1]):
        with pytest.raises(DataError):
            ConfusionMatrix.from_state(state)
    with pytest.raises(DataError):
        matrix.merge(ConfusionMatrix(2))
    for classes in (0, 256):
        with pytest.raises(DataError):
            ConfusionMatrix(classes)


def test_predictions_under_ignored_truth_may_be_anything():
    assert confusion(np.array([255, 0]), np.array([255, 1]), 2).tolist() == [[0, 1], [0, 0]]


def test_a_mean_over_some_classes():
    """PASCAL-Context's 59-class mean leaves class 0 out of the mean, not out of the counts."""
    matrix = ConfusionMatrix.from_state([[6, 2, 0], [1, 3, 0], [0, 1, 4]])
    assert matrix.mean_iu_over(range(1, 3)) == pytest.approx((3 / 7 + 4 / 5) / 2)
    assert matrix.mean_iu_over(range(3)) == pytest.approx(matrix.mean_iu)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**31))
def test_sparse_counts_add_up_again(classes, seed):
    random = np.random.RandomState(seed)
    matrices = random.randint(0, 3, (4, classes, classes)).astype(np.int64) * random.randint(0, 2**40)
    total = np.zeros((classes, classes), np.int64)
    for matrix in matrices:
        entries = json.loads(json.dumps(sparse(matrix)))
        assert len(entries) == (matrix > 0).sum()
        add_sparse(entries, total)
    assert total.tolist() == sum(matrix.astype(object) for matrix in matrices).tolist()
