"""Activations against float64 formulas written here, their finite differences, and BVLC's in-place rules."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from caffe_gp.errors import NetError
from tests.caffe.layer_harness import TEST, TRAIN, Run, assert_close, check_layer, make_layer

SHAPES = [(2, 3, 4, 5), (3, 7), (6,), (1, 2, 3, 1, 2)]


def values(shape, seed=0, away_from=()):
    """Random values, none closer than 0.01 to a kink of the function."""
    x = np.random.RandomState(seed).randn(*shape)
    for kink in away_from:
        x = np.where(np.abs(x - kink) < 0.01, x + 0.05, x)
    return x.astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [0, 0.1, 1.5])
def test_relu(shape, slope):
    text = f'type: "ReLU" relu_param {{ negative_slope: {slope} }}'
    check_layer(text, [values(shape, away_from=[0])], lambda x: np.where(x > 0, x, slope * x), in_place=True)


def test_relu_gradient_at_zero_is_the_slope():
    # Caffe: the derivative is 1 for x > 0 only
    for slope in (0, 0.25):
        run = Run(f'type: "ReLU" relu_param {{ negative_slope: {slope} }}', [np.zeros((1, 3))])
        assert_close(run.backward([[[1, 2, 3]]])[0], [[slope, 2 * slope, 3 * slope]])


def test_relu_in_place_changes_the_memory_that_a_view_shows():
    run = Run('type: "ReLU"', [values((2, 3))], in_place=True)
    view = run.bottom[0].data
    view[...] = [[-1, 2, -3], [4, -5, 6]]
    run.forward()
    assert view.tolist() == [[0, 2, 0], [4, 0, 6]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("text", "formula", "in_place"),
    [
        ('type: "Sigmoid"', sigmoid, True),
        ('type: "TanH"', np.tanh, True),
        ('type: "Swish"', lambda x: x * sigmoid(x), True),
        ('type: "Swish" swish_param { beta: 2.5 }', lambda x: x * sigmoid(2.5 * x), True),
        ('type: "ELU"', lambda x: np.where(x > 0, x, np.expm1(x)), True),
        ('type: "ELU" elu_param { alpha: 0.3 }', lambda x: np.where(x > 0, x, 0.3 * np.expm1(x)), True),
        ('type: "BNLL"', lambda x: np.log1p(np.exp(x)), False),
        ('type: "AbsVal"', np.abs, False),
        ('type: "Clip" clip_param { min: -0.5 max: 0.7 }', lambda x: np.clip(x, -0.5, 0.7), False),
        ('type: "Exp"', np.exp, True),
        ('type: "Exp" exp_param { base: 2 }', lambda x: 2**x, True),
        ('type: "Exp" exp_param { base: 3 scale: 0.5 shift: 1.5 }', lambda x: 3 ** (1.5 + 0.5 * x), True),
        ('type: "Exp" exp_param { scale: -1 shift: 2 }', lambda x: np.exp(2 - x), True),
        ('type: "Power"', lambda x: x, False),
        ('type: "Power" power_param { scale: 3 shift: -1 }', lambda x: 3 * x - 1, False),
        ('type: "Power" power_param { power: 2 }', lambda x: x**2, False),
        ('type: "Power" power_param { power: 2 scale: 0.5 shift: 1 }', lambda x: (1 + 0.5 * x) ** 2, False),
        ('type: "Power" power_param { power: 3 scale: -2 }', lambda x: (-2 * x) ** 3, False),
        ('type: "Power" power_param { power: 3 scale: 0.5 shift: 5 }', lambda x: (5 + 0.5 * x) ** 3, False),
        ('type: "Power" power_param { power: 0 }', lambda x: np.ones_like(x), False),
        ('type: "Power" power_param { scale: 0 shift: 2 power: 3 }', lambda x: np.full_like(x, 8), False),
    ],
)
def test_elementwise(text, formula, in_place, shape):
    check_layer(text, [values(shape, away_from=[0, -0.5, 0.7])], formula, in_place=in_place)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ('type: "Log"', np.log),
        ('type: "Log" log_param { base: 2 }', np.log2),
        ('type: "Log" log_param { base: 10 scale: 2 shift: 1 }', lambda x: np.log10(1 + 2 * x)),
        ('type: "Power" power_param { power: 0.5 shift: 1 }', lambda x: np.sqrt(1 + x)),
        ('type: "Power" power_param { power: -1.5 scale: 2 }', lambda x: (2 * x) ** -1.5),
    ],
)
def test_elementwise_of_positive_values(text, formula):
    check_layer(text, [np.abs(values((2, 3, 4, 5))) + 0.3], formula)


def test_bnll_and_sigmoid_do_not_overflow():
    run = Run('type: "BNLL"', [[[-1000.0, 1000.0]]])
    assert run.data[0].tolist() == [[0, 1000]]
    assert run.backward([[[1, 1]]])[0].tolist() == [[0, 1]]
    assert Run('type: "Sigmoid"', [[[-1000.0, 1000.0]]]).data[0].tolist() == [[0, 1]]


def test_threshold_is_strict_and_has_no_gradient():
    run = Run('type: "Threshold" threshold_param { threshold: 0.5 }', [[[0.4, 0.5, 0.6, -1]]])
    assert run.data[0].tolist() == [[0, 0, 1, 0]]
    with pytest.raises(NetError, match="no gradient"):
        run.backward([np.ones((1, 4))])
    assert not run.layer.allow_force_backward(0)


# What BVLC computes in place where its formula reads the overwritten bottom data or loses the top diff.
@pytest.mark.parametrize(
    ("text", "derivative_of_output"),
    [
        ('type: "BNLL"', lambda y, dy: dy * sigmoid(y)),
        ('type: "Clip" clip_param { min: -0.5 max: 0.7 }', lambda y, dy: dy),
        ('type: "Log" log_param { shift: 5 }', lambda y, dy: 1 / (y + 5) ** 2),
        ('type: "Power" power_param { scale: 3 }', lambda y, dy: np.full_like(y, 9)),
        ('type: "Power" power_param { power: 2 scale: 0.5 shift: 1 }', lambda y, dy: (0.5 * y + 1) ** 2),
    ],
)
def test_in_place_gradients_that_caffe_gets_wrong_are_caffes(text, derivative_of_output, caplog):
    with caplog.at_level(logging.WARNING, "caffe_gp.caffe"):
        run = Run(text, [values((2, 3, 4, 5))], in_place=True)
    assert "in place" in caplog.text and "'layer'" in caplog.text
    dy = values((2, 3, 4, 5), seed=1)
    assert_close(run.backward([dy])[0], derivative_of_output(run.data[0].astype(np.float64), dy))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 3), (2, 3, 2, 2, 2)])
@pytest.mark.parametrize("shared", [False, True])
def test_prelu(shape, shared):
    slope = np.float32(0.3) if shared else values((3,), seed=2)

    def formula(x, s):
        return np.where(x > 0, x, x * np.reshape(s, (1, -1) + (1,) * (x.ndim - 2)))

    text = f'type: "PReLU" prelu_param {{ channel_shared: {str(shared).lower()} }}'
    check_layer(text, [values(shape, away_from=[0])], formula, params=[slope], in_place=True)


def test_prelu_default_slope_adds_gradients_and_fills_on_request():
    run = Run('type: "PReLU"', [-np.ones((1, 2, 2))])
    assert run.layer.blobs[0].data.tolist() == [0.25, 0.25]
    run.backward([np.ones((1, 2, 2))])
    run.backward([np.ones((1, 2, 2))])
    assert run.layer.blobs[0].diff.tolist() == [-4, -4]
    run.layer.param_propagate_down = [False]
    run.backward([np.ones((1, 2, 2))])
    assert run.layer.blobs[0].diff.tolist() == [-4, -4]
    filled = Run('type: "PReLU" prelu_param { filler { value: 0.5 } }', [np.ones((1, 2))])
    assert filled.layer.blobs[0].data.tolist() == [0.5, 0.5]


def test_dropout_train_keeps_the_expected_value_and_reuses_the_mask():
    x = np.ones((64, 16, 8, 8), np.float32)
    for in_place in (False, True):
        run = Run('type: "Dropout" dropout_param { dropout_ratio: 0.25 }', [x], in_place=in_place)
        y = run.data[0]
        assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
        assert abs((y == 0).mean() - 0.25) < 0.01
        dy = values(x.shape, seed=3)
        assert_close(run.backward([dy])[0], dy * y)
        first = y.copy()
        run.bottom[0].data[...] = x
        run.forward()
        assert (run.data[0] != first).any()


def test_dropout_test_phase_copies():
    x, dy = values((2, 3, 4, 5)), values((2, 3, 4, 5), seed=1)
    for in_place in (False, True):
        run = Run('type: "Dropout"', [x], phase=TEST, in_place=in_place)
        assert (run.data[0] == x).all()
        assert (run.backward([dy])[0] == dy).all()
    separate = Run('type: "Dropout" dropout_param { dropout_ratio: 1 }', [x], phase=TEST)
    separate.top[0].data[...] = 7
    assert (separate.bottom[0].data == x).all()


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ('type: "Dropout" dropout_param { dropout_ratio: 1 }', (2,), "dropout_ratio must be in"),
        ('type: "Dropout" dropout_param { dropout_ratio: -0.5 }', (2,), "found -0.5"),
        ('type: "Exp" exp_param { base: 0 }', (2,), "base must be positive"),
        ('type: "Exp" exp_param { base: -2 }', (2,), "base must be positive"),
        ('type: "Log" log_param { base: 0 }', (2,), "base must be positive"),
        ('type: "Log" log_param { base: 1 }', (2,), "base 1"),
        ('type: "PReLU"', (2,), "channel axis"),
    ],
)
def test_bad_parameters(text, shape, message):
    with pytest.raises(NetError, match=message):
        Run(text, [np.ones(shape)])


def test_clip_needs_both_bounds():
    layer = make_layer('type: "Clip"', TRAIN)
    with pytest.raises(NetError, match="min and max"):
        layer.setup([None], [None])


def test_absval_refuses_to_work_in_place():
    with pytest.raises(NetError, match="in place"):
        Run('type: "AbsVal"', [np.ones(3)], in_place=True)


def test_backward_without_forward_is_an_error():
    for text in ('type: "Dropout"', 'type: "Swish"'):
        run = Run(text, [np.ones((2, 3))])
        for blob in (run.bottom[0], run.top[0]):
            blob.reshape(2, 5)
        with pytest.raises(NetError, match="forward pass of the same shape"):
            run.backward([np.ones((2, 5))])


def test_propagate_down_false_leaves_the_diff_alone():
    for kind in ("ReLU", "Sigmoid", "Power", "Dropout", "PReLU"):
        run = Run(f'type: "{kind}"', [values((2, 3))])
        run.bottom[0].diff[...] = 7
        assert (run.backward([np.ones((2, 3))], [False])[0] == 7).all()
