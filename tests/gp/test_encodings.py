"""Encodings and error signals against the paper's Figure 9 and against finite differences of Softmax."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.gp import encodings
from conformance import gp_nets as nets

pytestmark = pytest.mark.engine

UNIMODAL = [0.2, 0.6, 0.07, 0.1, 0.03]
BIMODAL = [0.35, 0.1, 0.45, 0.06, 0.04]


def truncated(values, digits):
    return np.trunc(np.asarray(values) * 10**digits + np.sign(values) * 1e-9) / 10**digits


@pytest.mark.parametrize(
    "y, encoding, printed",
    [
        (UNIMODAL, "onehot", [-0.12, 0.24, -0.042, -0.06, -0.018]),
        (UNIMODAL, "uniform", [0.0, -0.08, 0.026, 0.02, 0.034]),
        # The paper cuts -0.1575 and 0.2475 off after three digits instead of rounding.
        (BIMODAL, "onehot", [-0.157, -0.045, 0.247, -0.027, -0.018]),
        (BIMODAL, "uniform", [-0.03, 0.02, -0.05, 0.028, 0.032]),
    ],
)
def test_figure_9(y, encoding, printed):
    y = np.array([y], dtype=np.float64)
    signal = encodings.error_signal(y, encodings.label_distribution(encoding, y))
    np.testing.assert_allclose(truncated(signal[0], 3), printed, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "y, eq5, at_output",
    [
        (UNIMODAL, [0.12, -0.04, -0.028, -0.04, -0.012], [0.02, 0.06, -0.028, -0.04, -0.012]),
        (BIMODAL, [0.06, -0.04, 0.02, -0.024, -0.016], [0.035, -0.04, 0.045, -0.024, -0.016]),
    ],
)
def test_top2_depends_on_where_it_is_injected(y, eq5, at_output):
    y = np.array([y], dtype=np.float64)
    two = encodings.label_distribution("top2", y)
    assert sorted(two[0]) == [0, 0, 0, 0.5, 0.5]
    np.testing.assert_allclose(encodings.error_signal(y, two)[0], eq5, atol=1e-12)
    np.testing.assert_allclose(encodings.softmax_output_signal(y, two)[0], at_output, atol=1e-12)


def test_soft_is_zero_at_the_score_and_not_at_the_softmax_output():
    y = np.array([UNIMODAL], dtype=np.float64)
    soft = encodings.label_distribution("soft", y)
    np.testing.assert_allclose(encodings.error_signal(y, soft), 0, atol=1e-15)
    expected = [-0.0432, 0.1105, -0.0242, -0.0316, -0.0116]
    np.testing.assert_allclose(encodings.softmax_output_signal(y, soft)[0], expected, atol=5e-5)


def test_one_hot_signal_is_the_derivative_of_the_confidence():
    z = np.random.RandomState(1).standard_normal((2, 7, 3, 4))
    y = nets.softmax64(z)
    onehot = encodings.label_distribution("onehot", y)
    signal = encodings.error_signal(y, onehot)
    np.testing.assert_allclose(signal, encodings.softmax_output_signal(y, onehot), atol=1e-15)
    h = 1e-6
    for index in [(0, 0, 0, 0), (1, 3, 2, 1), (1, 6, 2, 3)]:
        up, down = z.copy(), z.copy()
        up[index] += h
        down[index] -= h
        slope = ((onehot * nets.softmax64(up)).sum() - (onehot * nets.softmax64(down)).sum()) / (2 * h)
        assert signal[index] == pytest.approx(slope, abs=1e-9)


def test_entropy_signal_is_the_descent_of_the_entropy():
    z = np.random.RandomState(2).standard_normal((2, 5, 3))
    y = nets.softmax64(z)
    signal, h = encodings.entropy_signal(y), 1e-6

    def entropy(scores):
        p = nets.softmax64(scores)
        return -(p * np.log(p)).sum()

    for index in [(0, 0, 0), (1, 3, 2), (1, 4, 1)]:
        up, down = z.copy(), z.copy()
        up[index] += h
        down[index] -= h
        assert signal[index] == pytest.approx(-(entropy(up) - entropy(down)) / (2 * h), abs=1e-8)
    sure = np.array([[1, 0, 0]], np.float32)
    assert not encodings.entropy_signal(sure).any()


def test_below_the_threshold_nothing_is_sent():
    y = np.array([[[0.6, 0.5, 0.2], [0.3, 0.4, 0.1], [0.1, 0.1, 0.7]]], np.float32)
    l = encodings.label_distribution("thresholded-onehot", y, threshold=0.6)  # noqa: E741
    assert l.tolist() == [[[1, 0, 0], [0, 0, 0], [0, 0, 1]]]
    for wrong in (None, -0.1, 1.5, "0.5", True, float("nan")):
        with pytest.raises(CaffeGPError, match=r"needs a threshold in 0\.\.1, like 0\.9"):
            encodings.label_distribution("thresholded-onehot", y, threshold=wrong)
    with pytest.raises(CaffeGPError, match="for encoding 'thresholded-onehot' only, not for 'onehot'"):
        encodings.checked_threshold("onehot", 0.5)


def test_a_function_gives_the_distribution_or_the_signal():
    z = np.random.RandomState(3).standard_normal((2, 4, 3)).astype(np.float32)
    y = nets.softmax64(z).astype(np.float32)

    def signal(encoding, inject="score"):
        return encodings.signal_of(encoding, inject, y, lambda: z)

    uniform = encodings.error_signal(y, encodings.label_distribution("uniform", y))
    np.testing.assert_array_equal(signal(lambda y: np.full_like(y, 1 / 4)), uniform)
    np.testing.assert_array_equal(signal(lambda z, y: z * y), z * y)
    assert signal(lambda y: np.full(y.shape, 0.25)).dtype == np.float32
    with pytest.raises(DataError, match="what the encoding's function gives"):
        signal(lambda y: y[:, :1])
    with pytest.raises(CaffeGPError, match="takes the probabilities y, or scores and probabilities"):
        encodings.check_choice(lambda a, b, c: a, None)
    with pytest.raises(CaffeGPError, match="is a signal at the score"):
        encodings.check_choice("entropy", "softmax-output")
    assert encodings.check_choice(lambda y, scale=2: y, "softmax-output") == "softmax-output"


@pytest.mark.parametrize("encoding", ["onehot", "random-onehot", "uniform", "top2", "soft", "ground-truth"])
@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (3, 5)])
def test_every_distribution_sums_to_one(encoding, shape):
    y = nets.softmax64(np.random.RandomState(0).standard_normal(shape)).astype(np.float32)
    truth = np.random.RandomState(1).randint(5, size=shape[:1] + shape[2:])
    distribution = encodings.label_distribution(
        encoding, y, truth=truth, seeds=[[0, 0, i] for i in range(shape[0])]
    )
    assert distribution.shape == y.shape and distribution.dtype == np.float32
    np.testing.assert_allclose(distribution.sum(axis=1), 1, rtol=1e-6)
    if encoding == "ground-truth":
        assert (distribution.argmax(axis=1) == truth).all()


def test_ground_truth_255_gives_no_signal():
    y = np.full((1, 3, 2, 2), 1 / 3, dtype=np.float32)
    truth = np.array([[[0, 255], [2, 255]]], dtype=np.uint8)
    signal = encodings.error_signal(y, encodings.label_distribution("ground-truth", y, truth=truth))
    assert not signal[:, :, :, 1].any() and signal[:, :, :, 0].all()


def test_255_is_ignored_even_when_there_are_more_classes():
    y = np.full((1, 300), 1 / 300, dtype=np.float32)
    assert not encodings.label_distribution("ground-truth", y, truth=np.array([255])).any()
    assert encodings.label_distribution("ground-truth", y, truth=np.array([299])).sum() == 1


@pytest.mark.parametrize(
    "truth, message",
    [
        (None, "needs labels of shape"),
        (np.zeros((1, 3, 2), int), "labels of shape"),
        (np.zeros((1, 2, 2)), "must be integers"),
        (np.full((1, 2, 2), 7), "label 7: the net has 3 classes"),
        (np.full((1, 2, 2), -1), "label -1"),
    ],
)
def test_wrong_ground_truth(truth, message):
    with pytest.raises(DataError, match=message):
        encodings.label_distribution("ground-truth", np.ones((1, 3, 2, 2), np.float32), truth=truth)


def test_random_labels_depend_on_the_image_and_the_seed_only():
    images = np.random.RandomState(0).standard_normal((3, 2, 4, 4)).astype(np.float32)
    y = np.full((3, 6, 8, 8), 1 / 6, dtype=np.float32)

    def draw(images, seed=5, iteration=0):
        seeds = encodings.image_seeds(images, seed, iteration)
        return encodings.label_distribution("random-onehot", y[: len(images)], seeds=seeds).argmax(axis=1)

    together = draw(images)
    assert (draw(images[1:2])[0] == together[1]).all()
    assert (draw(images[::-1])[0] == together[2]).all()
    for other in (draw(images, seed=6), draw(images, iteration=1), draw(images[::-1])):
        assert (other != together).any()
    counts = np.bincount(together.ravel(), minlength=6)
    assert counts.min() > 10  # uniform over six classes: 32 expected of 192


def test_a_tie_goes_to_the_smaller_class():
    y = np.array([[0.4, 0.4, 0.2]], dtype=np.float32)
    assert encodings.label_distribution("onehot", y).tolist() == [[1, 0, 0]]
    assert encodings.label_distribution("top2", y).tolist() == [[0.5, 0.5, 0]]


@pytest.mark.parametrize(
    "encoding, inject, message",
    [
        ("hot", None, "unknown encoding 'hot'"),
        ("onehot", "data", "unknown place"),
        ("soft", "score", "zero error signal"),
        ("uniform", "softmax-output", "zero error signal"),
    ],
)
def test_impossible_choices(encoding, inject, message):
    with pytest.raises(CaffeGPError, match=message):
        encodings.check_choice(encoding, inject)
    assert encodings.check_choice("soft", None) == "softmax-output"
    assert encodings.check_choice("onehot", None) == "score"


@pytest.mark.parametrize("shape", [(2, 21, 5, 7), (2, 21, 9, 17), (3, 10), (1, 300, 4, 4), (2, 1, 3, 3)])
def test_most_confident_is_numpys_argmax_and_max(shape):
    y = np.random.RandomState(0).randint(0, 4, shape).astype(np.float32)  # many ties
    labels, confidence = encodings.most_confident(y)
    np.testing.assert_array_equal(labels, y.argmax(axis=1))
    np.testing.assert_array_equal(confidence, y.max(axis=1))
    assert labels.dtype == (np.uint8 if shape[1] <= 256 else np.int32)


@pytest.mark.parametrize("size", [4, 40])
def test_nan_is_no_label_in_small_and_large_maps(size):
    y = np.zeros((1, 3, size, size), np.float32)
    y[0, 1], y[0, 2, 0, 0] = 0.5, np.nan
    labels, confidence = encodings.most_confident(y)
    assert (labels == 1).all() and np.isnan(confidence[0, 0, 0]) and np.isnan(confidence).sum() == 1


@pytest.mark.parametrize("signal", [encodings.error_signal, encodings.softmax_output_signal])
def test_only_arrays_of_one_shape_make_a_signal(signal):
    """numpy would broadcast or convert each of these."""
    y = np.full((2, 3, 4, 5), 1 / 3, np.float32)
    for l in (y[:1], y[..., :1], y[0], y[:, :1], np.float32(1)):  # noqa: E741
        with pytest.raises(DataError, match="label distribution: expected"):
            signal(y, l)
    for l in (np.ones(y.shape, int), np.ones(y.shape, bool), np.ones(y.shape, complex), y.tolist()):  # noqa: E741
        with pytest.raises(DataError, match="expected .*floating-point numbers, found"):
            signal(y, l)


@pytest.mark.parametrize("y", [np.ones(3, np.float32), np.ones((2, 3), int), np.float32(1), [[0.5, 0.5]]])
def test_probabilities_have_classes_on_axis_1(y):
    with pytest.raises(DataError, match="probabilities"):
        encodings.label_distribution("onehot", y)


def test_a_seed_for_each_image():
    with pytest.raises(DataError, match="1 seeds for 2 images"):
        encodings.label_distribution("random-onehot", np.ones((2, 3), np.float32), seeds=[[1]])
