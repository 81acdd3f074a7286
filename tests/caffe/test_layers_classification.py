"""The small layers of classification nets in forks, against formulas in float64 and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import NetError
from tests.caffe.layer_harness import TEST, TRAIN, Run, assert_close, check_layer
from tests.forks_formulas import axpy, mish, relu6, shuffled

RNG = np.random.RandomState(0)


def refused(message: str, text: str, *shapes: tuple, **options) -> None:
    with pytest.raises(NetError, match=message):
        Run(text, [np.ones(shape) for shape in shapes], **options)


# ---- Axpy


@pytest.mark.parametrize("factors", [(2, 3), (2, 3, 1, 1)])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_axpy(factors, phase):
    inputs = [RNG.randn(*factors), RNG.randn(2, 3, 4, 5), RNG.randn(2, 3, 4, 5)]
    check_layer('type: "Axpy"', inputs, axpy, phase=phase)


def test_axpy_by_hand():
    """SENet's order of bottoms: the factors, what they multiply, what is added."""
    run = Run('type: "Axpy"', [[[2.0, -1.0]], np.full((1, 2, 1, 2), 3.0), np.full((1, 2, 1, 2), 10.0)])
    assert run.data[0].tolist() == [[[[16, 16]], [[7, 7]]]]
    factors, x, y = run.backward([[[[[1, 10]], [[100, 1000]]]]])
    assert factors.tolist() == [[33, 3300]]
    assert x.tolist() == [[[[2, 20]], [[-100, -1000]]]]
    assert y.tolist() == [[[[1, 10]], [[100, 1000]]]]


def test_axpy_gives_only_the_diffs_that_are_asked_for():
    inputs = [RNG.randn(2, 3), RNG.randn(2, 3, 4, 5), RNG.randn(2, 3, 4, 5)]
    for k in range(3):
        run = Run('type: "Axpy"', inputs)
        for blob in run.bottom:
            blob.diff[...] = 7
        found = run.backward([RNG.randn(2, 3, 4, 5)], [i == k for i in range(3)])
        assert [bool((diff == 7).all()) for diff in found] == [i != k for i in range(3)]


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3), (2, 3, 4, 5), (2, 3, 4, 4)),
        ((3, 3), (2, 3, 4, 5), (2, 3, 4, 5)),
        ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5)),
        ((2, 3, 1, 1), (2, 3, 4), (2, 3, 4)),
        ((2,), (2, 3, 4, 5), (2, 3, 4, 5)),
    ],
)
def test_axpy_refuses_what_does_not_fit_together(shapes):
    refused(r"factors \(N, C\) or \(N, C, 1, 1\).*found", 'type: "Axpy"', *shapes)


def test_axpy_does_not_work_in_place():
    refused("in place", 'type: "Axpy"', (2, 3, 1, 1), (2, 3, 1, 1), (2, 3, 1, 1), in_place=True)


def test_axpy_follows_other_shapes():
    run = Run('type: "Axpy"', [RNG.randn(1, 2), RNG.randn(1, 2, 3, 3), RNG.randn(1, 2, 3, 3)])
    for blob, shape in zip(run.bottom, [(4, 2), (4, 2, 5, 7), (4, 2, 5, 7)]):
        blob.reshape(*shape)
        blob.data[...] = RNG.randn(*shape)
    run.forward()
    a, x, y = (blob.data for blob in run.bottom)
    assert_close(run.data[0], a[:, :, None, None] * x + y)


# ---- ShuffleChannel


@pytest.mark.parametrize("group, order", [(2, [0, 3, 1, 4, 2, 5]), (3, [0, 2, 4, 1, 3, 5])])
def test_shuffle_channel_by_hand(group, order):
    run = Run(f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}', [[list(range(6))]])
    assert run.data[0].tolist() == [order]
    (diff,) = run.backward([[order]])
    assert diff.tolist() == [list(range(6))]


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(2, 8), (3, 8, 2, 5), (1, 8, 2, 2, 3)])
def test_shuffle_channel(group, shape):
    text = f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}'
    run = check_layer(text, [RNG.randn(*shape)], lambda x: shuffled(x, group))
    other = RNG.randn(4, 16, *shape[2:])
    run.bottom[0].reshape(*other.shape)
    run.bottom[0].data[...] = other
    run.forward()
    # Of 16 channels a group has 16 / group: the second output is the first of the second group.
    at = 16 // group if group > 1 else 1
    np.testing.assert_array_equal(run.data[0][:, 1], other[:, at].astype(np.float32))


def test_shuffle_channel_without_parameters_copies():
    x = RNG.randn(2, 6, 3)
    np.testing.assert_array_equal(Run('type: "ShuffleChannel"', [x]).data[0], x.astype(np.float32))


@pytest.mark.parametrize("group", [0, 4, 7, 2**32 - 1])
def test_shuffle_channel_refuses_groups_that_do_not_divide(group):
    text = f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}'
    refused(f"group {group} does not divide the 6 channels", text, (2, 6, 3, 3))


def test_shuffle_channel_refuses_in_place_and_no_channels():
    refused("in place", 'type: "ShuffleChannel"', (2, 6), in_place=True)
    refused("channel axis", 'type: "ShuffleChannel"', (6,))


# ---- ReLU6 and Mish


@pytest.mark.parametrize("slope", [0, 0.1])
def test_relu6(slope):
    x = RNG.uniform(-4, 12, (2, 3, 4, 5))
    x[np.abs(x) < 0.01], x[np.abs(x - 6) < 0.01] = 1, 5  # kinks have no finite difference
    text = 'type: "ReLU6"' + (f" relu6_param {{ negative_slope: {slope} }}" if slope else "")
    check_layer(text, [x], lambda v: relu6(v, slope), in_place=True)


def test_relu6_at_its_kinks():
    """dx = dy [x < 6] (1 if x > 0, else the slope), in place the same."""
    x = [[-1, 0, 1e-3, 5.5, 6, 7]]
    for slope in (0.0, 0.5):
        for in_place in (False, True):
            text = f'type: "ReLU6" relu6_param {{ negative_slope: {slope} }}'
            run = Run(text, [x], in_place=in_place)
            np.testing.assert_allclose(run.data[0], [[-slope, 0, 1e-3, 5.5, 6, 6]])
            (diff,) = run.backward([np.full((1, 6), 3.0)])
            np.testing.assert_allclose(diff, [[3 * slope, 3 * slope, 3, 3, 0, 0]])


def test_relu6_reads_no_slope_of_another_layer():
    refused("relu6_param", 'type: "ReLU6" relu_param { negative_slope: 0.1 }', (2, 3))


def test_mish():
    x = np.concatenate([RNG.randn(40) * 3, [0, -20, 20, 0.5]]).reshape(2, 2, 11)
    check_layer('type: "Mish" mish_param { }', [x], mish, in_place=True)


def test_mish_of_large_numbers():
    x = np.array([[-1e4, -100, 50, 100, 1e4]])
    for in_place in (False, True):
        run = Run('type: "Mish"', [x], in_place=in_place)
        np.testing.assert_allclose(run.data[0], [[0, 0, 50, 100, 1e4]], atol=1e-30)
        np.testing.assert_allclose(run.backward([np.ones((1, 5))])[0], [[0, 0, 1, 1, 1]], atol=1e-30)


def test_mish_needs_a_forward_of_the_same_shape():
    run = Run('type: "Mish"', [np.ones((2, 3))], in_place=True)
    run.bottom[0].reshape(2, 5)
    with pytest.raises(NetError, match="forward pass of the same shape"):
        run.backward([np.ones((2, 5))])


# ---- depthwise convolutions


DEPTHWISE = ['type: "DepthwiseConvolution"', 'type: "ConvolutionDepthwise"']


@pytest.mark.parametrize("kind", DEPTHWISE)
@pytest.mark.parametrize("outputs, group", [(3, ""), (3, "group: 3"), (6, "")])
def test_depthwise_convolution_is_a_convolution_with_as_many_groups_as_channels(kind, outputs, group):
    x, params = RNG.randn(2, 3, 6, 5), [RNG.randn(outputs, 1, 3, 3), RNG.randn(outputs)]
    fields = f"num_output: {outputs} kernel_size: 3 stride: 2 pad: 1"

    def formula(v, w, b):
        padded = np.pad(v, ((0, 0), (0, 0), (1, 1), (1, 1)))
        y = np.zeros((2, outputs, 3, 3))
        for k in range(outputs):
            for i in range(3):
                for j in range(3):
                    part = padded[:, k // (outputs // 3), i : i + 5 : 2, j : j + 5 : 2]
                    y[:, k] += w[k, 0, i, j] * part
            y[:, k] += b[k]
        return y

    check_layer(f"{kind} convolution_param {{ {fields} {group} }}", [x], formula, params=params)


@pytest.mark.parametrize("kind", DEPTHWISE)
@pytest.mark.parametrize("group", [0, 1, 2])
def test_depthwise_convolution_refuses_another_group(kind, group):
    text = f"{kind} convolution_param {{ num_output: 4 kernel_size: 1 group: {group} }}"
    refused(f"each of the 4 channels.*group {group}.*use a Convolution", text, (1, 4, 3, 3))


# ---- CropCenter


@pytest.mark.parametrize(
    "cut, shape", [((0, 0, 2, 2), (2, 3, 5, 6)), ((0, 1, 0, 2), (2, 3, 4, 5)), ((1, 0), (3, 2)), ((2,), (5,))]
)
def test_crop_center(cut, shape):
    window = tuple(slice(n, size - n) for n, size in zip(cut, shape))
    text = 'type: "CropCenter" crop_center_param { ' + " ".join(f"crop_size: {n}" for n in cut) + " }"
    run = check_layer(text, [RNG.randn(*shape)], lambda v: v[window])
    larger = RNG.randn(*(size + 1 for size in shape))
    run.bottom[0].reshape(*larger.shape)
    run.bottom[0].data[...] = larger
    run.forward()
    window = tuple(slice(n, size + 1 - n) for n, size in zip(cut, shape))
    np.testing.assert_array_equal(run.data[0], larger[window].astype(np.float32))


@pytest.mark.parametrize(
    "fields, message",
    [
        ("", "each of the 4 axes.*found 0"),
        ("crop_size: 2 crop_size: 2", "each of the 4 axes.*found 2"),
        ("crop_size: 0 crop_size: 0 crop_size: 2 crop_size: 3", "leaves nothing"),
        ("crop_size: 0 crop_size: 0 crop_size: 0 crop_size: 4294967295", "leaves nothing"),
    ],
)
def test_crop_center_refuses(fields, message):
    refused(message, f'type: "CropCenter" crop_center_param {{ {fields} }}', (1, 2, 6, 6))
