"""The layers of segmentation nets in forks: Upsample, Unpooling, BN, class weights, Dropout at TEST."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from caffe_gp import engines, proto
from caffe_gp.caffe.net import Net
from caffe_gp.errors import NetError, WeightsError
from tests.caffe.layer_harness import TEST, TRAIN, Run, assert_close, check_layer
from tests.forks_formulas import (
    GEOMETRIES,
    at_beginnings,
    at_mask,
    from_beginnings,
    from_mask,
    means,
    normalised,
    repeated,
    spread,
    through_statistics,
)

RNG = np.random.RandomState(0)


def refused(message: str, text: str, *inputs: np.ndarray | tuple, **options) -> None:
    with pytest.raises(NetError, match=message):
        Run(text, [np.ones(one) if isinstance(one, tuple) else one for one in inputs], **options)


# ---- Upsample and Unpooling by a mask

MASKED = [
    ('type: "Upsample"', 6, 8),
    ('type: "Upsample" upsample_param { scale: 3 }', 9, 12),
    ('type: "Upsample" upsample_param { scale_h: 2 scale_w: 1 }', 6, 4),
    ('type: "Upsample" upsample_param { scale: 2 pad_out_h: true }', 5, 8),
    ('type: "Upsample" upsample_param { scale: 2 pad_out_w: true }', 6, 7),
    ('type: "Upsample" upsample_param { upsample_h: 5 upsample_w: 9 }', 5, 9),
    ('type: "Unpooling" unpooling_param { kernel_size: 2 stride: 2 unpool_h: 5 unpool_w: 9 }', 5, 9),
    ('type: "UnPooling" unpooling_param { unpool: MAX kernel_h: 2 kernel_w: 3 unpool_size: 7 }', 7, 7),
]


@pytest.mark.parametrize("text, height, width", MASKED)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_values_go_to_their_places(text, height, width, phase):
    mask = np.stack([RNG.permutation(height * width)[:12] for _ in range(6)])
    mask = mask.reshape(2, 3, 3, 4).astype(np.float64)
    check_layer(
        text,
        [RNG.randn(2, 3, 3, 4), mask],
        lambda v, m: from_mask(v, m, height, width),
        propagate=[True, False],
        phase=phase,
    )


@pytest.mark.parametrize("text, height, width", MASKED)
def test_of_several_values_with_one_place_the_last_counts(text, height, width):
    """And backward gathers for each of them: what the forks do, and not the derivative."""
    for few in (1, 2, 5):
        mask = RNG.randint(0, few, (2, 3, 3, 4)).astype(np.float64)
        values = RNG.randn(2, 3, 3, 4)
        run = Run(text, [values, mask])
        assert_close(run.data[0], from_mask(values, mask, height, width))
        dy = RNG.randn(2, 3, height, width)
        diff = run.backward([dy], [True, False])[0]
        assert_close(diff, at_mask(dy, mask))


def test_further_channels_of_a_mask_do_not_count_for_unpooling():
    """As in the lane net of vision_lane_detection, for one image as its fork has it."""
    text = MASKED[-2][0]
    values, mask = RNG.randn(2, 3, 3, 4), RNG.randint(0, 45, (2, 5, 3, 4)).astype(np.float64)
    run = Run(text, [values, mask])
    assert_close(run.data[0], from_mask(values, mask[:, :3], 5, 9))
    dy = RNG.randn(2, 3, 5, 9)
    assert_close(run.backward([dy], [True, False])[0], at_mask(dy, mask[:, :3]))
    refused("one shape", text, values, mask[:, :2])
    refused("one shape", 'type: "Upsample"', values, mask)


def test_a_nan_stays_where_it_belongs():
    values = np.array([[[[1.0, np.nan], [3.0, 4.0]]]])
    run = Run('type: "Upsample"', [values, [[[[0, 5], [9, 15]]]]])
    expected = np.zeros(16)
    expected[[0, 5, 9, 15]] = 1, np.nan, 3, 4
    np.testing.assert_array_equal(run.data[0].ravel(), expected)


@pytest.mark.parametrize("text", ['type: "Upsample"', MASKED[-1][0]])
@pytest.mark.parametrize("wrong", [-1, 1000, np.nan, np.inf, -np.inf])
def test_a_mask_that_points_outside_is_refused(text, wrong):
    mask = np.zeros((1, 1, 2, 2))
    mask[0, 0, 1, 1] = wrong
    refused(f"the mask holds {wrong:g}, which is no place", text, np.ones((1, 1, 2, 2)), mask)


def test_a_pooling_and_its_mask_give_the_maxima_back_where_they_were():
    x = RNG.permutation(2 * 3 * 4 * 6).reshape(2, 3, 4, 6) / 10.0 + 1
    pooled = Run('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', [x], num_top=2)
    largest = x.reshape(2, 3, 2, 2, 3, 2).max((3, 5), keepdims=True) == x.reshape(2, 3, 2, 2, 3, 2)
    for text in (
        'type: "Upsample" upsample_param { scale: 2 }',
        'type: "Unpooling" unpooling_param { kernel_size: 2 stride: 2 unpool_h: 4 unpool_w: 6 }',
    ):
        run = Run(text, pooled.data)
        np.testing.assert_array_equal(run.data[0], np.where(largest.reshape(x.shape), x, 0).astype("f4"))


def test_the_size_of_upsample_follows_the_bottom():
    run = Run('type: "Upsample"', [np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 2))])
    for blob in run.bottom:
        blob.reshape(3, 2, 4, 5)
        blob.data[...] = 39
    run.forward()
    assert run.top[0].shape == (3, 2, 8, 10)
    assert (run.data[0].reshape(6, -1).sum(1) == 39).all() and (run.data[0][:, :, 3, 9] == 39).all()


MASK = np.zeros((1, 1, 2, 2))


@pytest.mark.parametrize(
    "fields, inputs, message",
    [
        ("", [np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 3))], "one shape"),
        ("", [np.ones((2, 2)), np.zeros((2, 2))], "must have 4 axes"),
        ("", [np.ones((1, 2, 2))], "must have 4 axes"),
        ("scale: 0", [np.ones(MASK.shape), MASK], "output size would be 0 x 0"),
        ("scale: 0", [np.ones(MASK.shape)], "output size would be 0 x 0"),
        ("scale_h: 2", [np.ones(MASK.shape), MASK], "scale_h and scale_w must be given together"),
        ("upsample_w: 2", [np.ones(MASK.shape), MASK], "upsample_h and upsample_w must be given together"),
        ("upsample_h: 0 upsample_w: 4", [np.ones(MASK.shape), MASK], "output size would be 0 x 4"),
        ("scale: 3 pad_out_h: true", [np.ones(MASK.shape), MASK], "go with a scale of 2, found 3"),
        ("upsample_h: 4 upsample_w: 4", [np.ones(MASK.shape)], "upsample_h needs two bottoms"),
        ("scale: 2 pad_out_w: true", [np.ones(MASK.shape)], "pad_out_w needs two bottoms"),
        ("scale: 4294967295", [np.ones(MASK.shape)], "elements|values|limit"),
    ],
)
def test_upsample_refuses(fields, inputs, message):
    refused(message, f'type: "Upsample" upsample_param {{ {fields} }}', *inputs)


# ---- Upsample with one bottom


@pytest.mark.parametrize("scale", [None, 1, 2, 3])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_upsample_of_one_bottom_repeats(scale, phase):
    """y[h, w] = x[h // s, w // s]; without a scale it is 1, where SegNet's is 2."""
    text = 'type: "Upsample"' + (f" upsample_param {{ scale: {scale} }}" if scale else "")
    check_layer(text, [RNG.randn(2, 3, 4, 5)], lambda v: repeated(v, scale or 1), phase=phase)


def test_upsample_of_one_bottom_by_hand():
    run = Run('type: "Upsample" upsample_param { scale: 2 }', [[[[[1, 2], [3, 4]]]]])
    assert run.data[0].tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]]]
    (diff,) = run.backward([np.arange(16).reshape(1, 1, 4, 4)])
    assert diff.tolist() == [[[[10, 18], [42, 50]]]]


# ---- Unpooling without a mask


def unpooling(method: str, kernel, stride, size) -> str:
    return (
        f'type: "Unpooling" unpooling_param {{ unpool: {method} kernel_h: {kernel[0]} kernel_w: {kernel[1]} '
        f"stride_h: {stride[0]} stride_w: {stride[1]} unpool_h: {size[0]} unpool_w: {size[1]} }}"
    )


@pytest.mark.parametrize("kernel, stride, size", GEOMETRIES)
def test_ave_unpooling(kernel, stride, size):
    check_layer(
        unpooling("AVE", kernel, stride, size),
        [RNG.randn(2, 3, 3, 4)],
        lambda v: spread(v, kernel, stride, size, "AVE"),
    )


@pytest.mark.parametrize("kernel, stride, size", GEOMETRIES)
def test_tile_unpooling_and_the_fork_s_gradient(kernel, stride, size):
    """Backward is AVE's; the derivative would be the sum over the window."""
    x, dy = RNG.randn(2, 3, 3, 4), RNG.randn(2, 3, *size)
    for channels_last in (False, True):
        run = Run(unpooling("TILE", kernel, stride, size), [x], channels_last=channels_last)
        assert_close(run.data[0], spread(x, kernel, stride, size, "TILE"))
        assert_close(run.backward([dy])[0], means(dy, kernel, stride, x.shape))


def test_a_second_forward_starts_from_zero():
    """The fork's CPU code added to what was there."""
    run = Run(unpooling("TILE", (2, 2), (2, 2), (4, 4)), [np.ones((1, 1, 2, 2))])
    run.forward()
    assert (run.data[0] == 1).all()


@pytest.mark.parametrize("kernel, stride, size", GEOMETRIES)
def test_max_unpooling_without_a_mask(kernel, stride, size):
    """To the window's beginning, or the plane's last row or column; where values meet the last counts."""
    x, dy = RNG.randn(2, 3, 3, 4), RNG.randn(2, 3, *size)
    run = Run(unpooling("MAX", kernel, stride, size), [x])
    assert_close(run.data[0], at_beginnings(x, stride, size))
    assert_close(run.backward([dy])[0], from_beginnings(dy, stride, x.shape))


@pytest.mark.parametrize("method", ["MAX", "AVE", "TILE"])
def test_unpooling_follows_other_bottoms(method):
    text = unpooling(method, (2, 2), (2, 2), (6, 8))
    run = Run(text, [RNG.randn(1, 2, 3, 4)])
    x = RNG.randn(3, 1, 2, 5)
    run.bottom[0].reshape(*x.shape)
    run.bottom[0].data[...] = x
    run.forward()
    assert_close(run.data[0], Run(text, [x]).data[0])
    assert run.top[0].shape == (3, 1, 6, 8)


@pytest.mark.parametrize(
    "fields, message",
    [
        ("unpool_size: 4", "needs kernel_size, or kernel_h and kernel_w, from 1; found 0 and 0"),
        ("kernel_size: 2", "needs unpool_size, or unpool_h and unpool_w"),
        ("kernel_size: 2 unpool_h: 4", "needs unpool_size, or unpool_h and unpool_w, from 1; found 4 and 0"),
        ("kernel_h: 2 unpool_size: 4", "needs kernel_size, or kernel_h and kernel_w, from 1; found 2 and 0"),
        ("kernel_size: 2 kernel_h: 2 kernel_w: 2 unpool_size: 4", "either kernel_size or kernel_h"),
        ("kernel_size: 2 stride: 0 unpool_size: 4", "needs stride, or stride_h and stride_w, from 1"),
        ("kernel_size: 2 unpool_size: 4 pad: 1", "pad is not possible"),
        ("kernel_size: 2 unpool_size: 4 pad_w: 1", "pad is not possible"),
        ("kernel_size: 2 unpool_size: 100000", "elements|bytes|values"),
    ],
)
def test_unpooling_refuses(fields, message):
    refused(message, f'type: "Unpooling" unpooling_param {{ {fields} }}', (1, 1, 2, 2))


def test_unpooling_takes_a_mask_for_max_alone():
    refused("unpool: MAX only", unpooling("AVE", (2, 2), (2, 2), (4, 4)), (1, 1, 2, 2), MASK)
    refused("one shape", unpooling("MAX", (2, 2), (2, 2), (4, 4)), (1, 1, 2, 3), MASK)
    refused("4 axes", unpooling("MAX", (2, 2), (2, 2), (4, 4)), (1, 2, 2))


def test_masks_get_no_gradient_where_every_bottom_is_to_have_one():
    text = """
        force_backward: true
        layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
        layer { name: "p" type: "Pooling" bottom: "d" top: "p" top: "m" pooling_param {
          kernel_size: 2 stride: 2 } }
        layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u" }
        layer { name: "v" type: "Unpooling" bottom: "p" bottom: "m" top: "v" unpooling_param {
          kernel_size: 2 unpool_size: 4 } }
        layer { name: "s" type: "Eltwise" bottom: "u" bottom: "v" top: "s" }
    """
    net = Net.from_param(proto.parse_net_param(text), TEST)
    x = RNG.permutation(32).reshape(1, 2, 4, 4)
    net.blobs["d"].data[...] = x
    net.forward()
    dy = RNG.randn(1, 2, 4, 4)
    net.blobs["s"].diff[...] = dy
    net.backward()
    largest = net.blobs["u"].data != 0
    np.testing.assert_allclose(net.blobs["d"].diff, np.where(largest, 2 * dy, 0), rtol=1e-6)


# ---- BN

SCALE, SHIFT = RNG.randn(1, 2, 1, 1), RNG.randn(1, 2, 1, 1)
MEAN, VARIANCE = RNG.randn(1, 2, 1, 1), RNG.uniform(0.5, 4, (1, 2, 1, 1))


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_segnet_s_bn_learns_by_the_batch_at_test_too(phase):
    x = RNG.randn(3, 2, 4, 5) * 3 + 1
    text = 'type: "BN" bn_param { scale_filler { value: 1 } }'
    run = check_layer(
        text,
        [x],
        lambda v, a, b: normalised(v, 1e-9) * a + b,
        params=[SCALE, SHIFT],
        in_place=True,
        phase=phase,
    )
    assert [blob.shape for blob in run.layer.blobs] == [(1, 2, 1, 1)] * 2


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_segnet_s_bn_of_inference_scales_and_shifts(phase):
    check_layer(
        'type: "BN" bn_param { bn_mode: INFERENCE }',
        [RNG.randn(3, 2, 4, 5)],
        lambda v, a, b: v * a + b,
        params=[SCALE, SHIFT],
        in_place=True,
        phase=phase,
    )


def test_segnet_s_bn_hands_out_the_batch_s_statistics():
    x = RNG.randn(3, 2, 4, 5)
    run = Run('type: "BN"', [x], num_top=3)
    assert_close(run.data[1], x.mean((0, 2, 3)).reshape(1, 2, 1, 1))
    assert_close(run.data[2], x.var((0, 2, 3)).reshape(1, 2, 1, 1))
    refused("tops 2 and 3", 'type: "BN" bn_param { bn_mode: INFERENCE }', x, num_top=2)
    refused("tops 2 and 3", 'type: "BN" bn_param { frozen: true }', x, num_top=3)


def test_segnet_s_parameter_diffs_are_overwritten_and_pspnet_s_added_to():
    x, dy = RNG.randn(3, 2, 4, 5), RNG.randn(3, 2, 4, 5)
    for fields, times in (("bn_mode: LEARN", 1), ("bn_mode: INFERENCE", 1), ("momentum: 0.9", 2)):
        run = Run(f'type: "BN" bn_param {{ {fields} }}', [x])
        run.backward([dy])
        once = [blob.diff.copy() for blob in run.layer.blobs[:2]]
        run.backward([dy])
        assert_close(once[1].ravel(), dy.sum((0, 2, 3)))
        for blob, diff in zip(run.layer.blobs, once):
            assert_close(blob.diff, times * diff)


def test_without_fillers_both_kinds_start_at_zero():
    x = RNG.randn(3, 2, 4, 5)
    for fields in ("", "bn_mode: INFERENCE", "eps: 1e-5"):
        run = Run(f'type: "BN" bn_param {{ {fields} }}', [x])
        assert not run.data[0].any()
        assert not any(blob.data.any() for blob in run.layer.blobs[:2])
    fillers = "scale_filler { value: 2 } shift_filler { value: 3 }"
    assert_close(Run(f'type: "BN" bn_param {{ {fillers} }}', [x]).data[0], normalised(x, 1e-9) * 2 + 3)
    numbers = "scale: 2 shift: 3 bn_mode: INFERENCE"  # an ENet port's
    assert_close(Run(f'type: "BN" bn_param {{ {numbers} }}', [x]).data[0], x * 2 + 3)
    fillers = "slope_filler { value: 2 } bias_filler { value: 3 } eps: 0.5"
    assert_close(Run(f'type: "BN" bn_param {{ {fillers} }}', [x]).data[0], normalised(x, 0.5) * 2 + 3)


def test_pspnet_s_bn_keeps_moving_statistics_in_training():
    x = RNG.randn(4, 2, 3, 3) + 2
    run = Run('type: "BN" bn_param { momentum: 0.75 }', [x])
    assert [blob.shape for blob in run.layer.blobs] == [(1, 2, 1, 1)] * 4
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    assert_close(run.layer.blobs[2].data.ravel(), 0.25 * mean)  # both start at 0
    assert_close(run.layer.blobs[3].data.ravel(), 0.25 * variance)
    run.forward()
    assert_close(run.layer.blobs[2].data.ravel(), (0.75 * 0.25 + 0.25) * mean)
    assert run.layer.layer_param.param[3].lr_mult == 0


@pytest.mark.parametrize("in_place", [False, True])
def test_pspnet_s_bn_in_training_goes_through_the_statistics(in_place):
    x, dy = RNG.randn(3, 2, 4, 5), RNG.randn(3, 2, 4, 5)
    params = [SCALE, SHIFT, MEAN, VARIANCE]
    run = Run('type: "BN" bn_param { momentum: 0.9 eps: 0.01 }', [x], params=params, in_place=in_place)
    assert_close(run.data[0], normalised(x, 0.01) * SCALE + SHIFT)
    # The same function as SegNet's but for eps, whose gradient is checked by finite differences above.
    other = Run('type: "BatchNorm" batch_norm_param { eps: 0.01 }', [x])
    expected = other.backward([dy * SCALE])[0]
    assert_close(run.backward([dy])[0], expected, 1e-4)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_pspnet_s_frozen_bn_uses_the_moving_statistics(phase):
    x = RNG.randn(3, 2, 4, 5)
    text = 'type: "BN" bn_param { frozen: true momentum: 0.95 }'
    for in_place in (False, True):
        run = Run(text, [x], phase=phase, params=[SCALE, SHIFT, MEAN, VARIANCE], in_place=in_place)
        assert_close(run.data[0], (x - MEAN) / np.sqrt(VARIANCE + 1e-5) * SCALE + SHIFT)
        assert_close(run.layer.blobs[2].data, MEAN)
        dy = RNG.randn(3, 2, 4, 5)
        assert_close(run.backward([dy])[0], SCALE * dy / np.sqrt(VARIANCE + 1e-5))
        slope_diff = (dy * (x - MEAN) / np.sqrt(VARIANCE + 1e-5)).sum((0, 2, 3))
        assert_close(run.layer.blobs[0].diff.ravel(), slope_diff, 1e-4)
    fresh = Run(text, [x], phase=phase)
    assert [float(blob.data.max()) for blob in fresh.layer.blobs] == [0, 0, 0, 1]
    specs = fresh.layer.layer_param.param
    assert [(spec.lr_mult, spec.decay_mult) for spec in specs] == [(0, 0)] * 4


def test_pspnet_s_bn_at_test_without_frozen_goes_back_as_in_training(caplog):
    """The fork's formula, with the values that the moving statistics normalised; not the derivative."""
    x, dy = RNG.randn(3, 2, 4, 5), RNG.randn(3, 2, 4, 5)
    text = 'type: "BN" bn_param { momentum: 0.9 }'
    with caplog.at_level(logging.WARNING, "caffe_gp.caffe"):
        run = Run(text, [x], phase=TEST, params=[SCALE, SHIFT, MEAN, VARIANCE])
    assert "frozen: true" in caplog.text
    inverse = 1 / np.sqrt(VARIANCE + 1e-5)
    hat = (x - MEAN) * inverse
    assert_close(run.data[0], hat * SCALE + SHIFT)
    assert_close(run.backward([dy])[0], through_statistics(dy * SCALE, hat, inverse))


def test_more_than_two_params_tell_pspnet_s_kind():
    run = Run('type: "BN" param { } param { } param { } param { decay_mult: 1 }', [RNG.randn(3, 2, 4, 5)])
    assert len(run.layer.blobs) == 4
    specs = run.layer.layer_param.param
    assert [(spec.lr_mult, spec.decay_mult) for spec in specs] == [(1, 1), (1, 1), (0, 0), (0, 0)]


@pytest.mark.parametrize(
    "fields, shape, message",
    [
        ("scale_filler { value: 1 } frozen: true", (1, 2, 3, 3), "scale_filler.*SegNet.*frozen.*PSPNet"),
        ("scale: 1 scale_filler { value: 1 }", (1, 2, 3, 3), "both scale and scale_filler"),
        ("shift: 1 frozen: true", (1, 2, 3, 3), "shift, of SegNet's kind of BN, and frozen, of PSPNet's"),
        ("momentum: 1.5", (1, 2, 3, 3), r"momentum must be in \[0, 1\], found 1.5"),
        ("momentum: nan", (1, 2, 3, 3), "found nan"),
        ("eps: -1", (1, 2, 3, 3), "eps must not be negative, found -1"),
        ("eps: nan", (1, 2, 3, 3), "found nan"),
        ("", (2, 3), r"expected a bottom \(N, C, H, W\), found \(2, 3\)"),
        ("", (0, 2, 3, 3), "no statistics of a batch without values"),
        ("", (1, 0, 3, 3), "nothing to fill"),
    ],
)
def test_bn_refuses(fields, shape, message):
    refused(message, f'type: "BN" bn_param {{ {fields} }}', shape)


def test_bn_follows_other_sizes_but_not_other_channels():
    run = Run('type: "BN" bn_param { scale_filler { value: 1 } }', [RNG.randn(3, 2, 4, 5)])
    x = RNG.randn(1, 2, 7, 3)
    run.bottom[0].reshape(*x.shape)
    run.bottom[0].data[...] = x
    run.forward()
    assert_close(run.data[0], normalised(x, 1e-9))
    run.bottom[0].reshape(1, 3, 7, 3)
    with pytest.raises(NetError, match=r"expected \(N, 2, H, W\), found \(1, 3, 7, 3\)"):
        run.forward()


@pytest.mark.parametrize("fields", ["", "bn_mode: INFERENCE", "frozen: true", "momentum: 0.9"])
def test_bn_s_backward_needs_a_forward_of_the_same_shape(fields):
    run = Run(f'type: "BN" bn_param {{ {fields} }}', [RNG.randn(3, 2, 4, 5)], in_place=True)
    run.bottom[0].reshape(1, 2, 4, 5)
    with pytest.raises(NetError, match="forward pass of the same shape"):
        run.backward([np.ones((1, 2, 4, 5))])


@pytest.mark.parametrize(
    "blobs, fields, message",
    [
        (4, "bn_mode: INFERENCE", "PSPNet's BN.*frozen: true"),
        (2, "frozen: true", "SegNet's BN.*bn_mode: INFERENCE"),
    ],
)
def test_weights_of_the_other_kind_of_bn(tmp_path, blobs, fields, message):
    text = (
        'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 3 } } }'
        f'layer {{ name: "y" type: "BN" bottom: "d" top: "y" bn_param {{ {fields} }} }}'
    )
    (tmp_path / "net.prototxt").write_text(text)
    arrays = {"y": [np.ones((1, 2, 1, 1), np.float32)] * blobs}
    proto.write_caffemodel(tmp_path / "net.caffemodel", proto.parse_net_param(text), arrays)
    with pytest.raises(WeightsError, match=message):
        engines.load_net(tmp_path / "net.prototxt", tmp_path / "net.caffemodel", engine="torch")


# ---- class weights of SoftmaxWithLoss

WEIGHTS = [0.5, 2.0, 0.0, 7.25]


@pytest.mark.parametrize("ignored", [None, 2, 255])
@pytest.mark.parametrize("normalize, valid_counts", [("", True), ("normalize: false", False)])
def test_class_weights(ignored, normalize, valid_counts):
    """Each position's loss times the weight of its label; divided by the number of positions all the same."""
    label = RNG.randint(0, 4, (3, 1, 4, 5)).astype(np.float64)
    if ignored == 255:
        label[0, 0, :2] = 255

    def formula(x, lab):
        lab = lab[:, 0].astype(int)
        counts = np.ones(lab.shape, bool) if ignored is None else lab != ignored
        p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
        picked = np.take_along_axis(p, np.where(counts, lab, 0)[:, None], 1)[:, 0]
        weights = np.array(WEIGHTS)[np.where(counts, lab, 0)]
        divisor = counts.sum() if valid_counts else 3
        return -(np.log(picked) * weights * counts).sum() / divisor

    text = (
        'type: "SoftmaxWithLoss" loss_param { weight_by_label_freqs: true '
        + " ".join(f"class_weighting: {w}" for w in WEIGHTS)
        + (f" ignore_label: {ignored}" if ignored is not None else "")
        + f" {normalize} }}"
    )
    check_layer(text, [RNG.randn(3, 4, 4, 5), label], formula, propagate=[True, False], loss=True)


def test_class_weights_count_where_they_are_asked_for_only():
    inputs = [RNG.randn(3, 4, 2, 2), RNG.randint(0, 4, (3, 1, 2, 2))]
    weights = " ".join(f"class_weighting: {w}" for w in WEIGHTS)
    plain = Run('type: "SoftmaxWithLoss"', inputs).data[0]
    for more in ("", "weight_by_label_freqs: false"):
        loss = Run(f'type: "SoftmaxWithLoss" loss_param {{ {weights} {more} }}', inputs).data[0]
        assert loss == plain


@pytest.mark.parametrize(
    "weights, message",
    [
        ("", r"once for each class: found 0 weight\(s\) for 4 classes"),
        ("class_weighting: 1", r"found 1 weight\(s\) for 4"),
        ("class_weighting: [1, 1, 1, 1, 1]", r"found 5 weight\(s\) for 4"),
        ("class_weighting: [1, 1, 1, nan]", "finite numbers"),
        ("class_weighting: [1, 1, 1, inf]", "finite numbers"),
    ],
)
def test_class_weights_refused(weights, message):
    text = f'type: "SoftmaxWithLoss" loss_param {{ weight_by_label_freqs: true {weights} }}'
    refused(message, text, np.ones((2, 4, 3, 3)), np.zeros((2, 1, 3, 3)))


# ---- Dropout of Bayesian SegNet


@pytest.mark.parametrize("in_place", [False, True])
def test_dropout_stays_on_at_test_where_weights_are_sampled(in_place):
    x = np.ones((64, 16, 8, 8), np.float32)
    torch.manual_seed(0)
    text = 'type: "Dropout" dropout_param { dropout_ratio: 0.25 sample_weights_test: true }'
    run = Run(text, [x], phase=TEST, in_place=in_place)
    y = run.data[0]
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.01
    dy = RNG.randn(*x.shape)
    assert_close(run.backward([dy])[0], dy * y)
    run.bottom[0].data[...] = x
    run.forward()
    assert (run.data[0] != y).any()
    assert not run.layer.idempotent_in_place


def test_dropout_at_test_without_sampling_copies():
    x = RNG.randn(2, 3)
    for more in ("", "sample_weights_test: false"):
        run = Run(f'type: "Dropout" dropout_param {{ dropout_ratio: 1 {more} }}', [x], phase=TEST)
        np.testing.assert_array_equal(run.data[0], x.astype(np.float32))
    text = 'type: "Dropout" dropout_param { dropout_ratio: 1 sample_weights_test: true }'
    refused("dropout_ratio must be in", text, (2, 3), phase=TEST)
