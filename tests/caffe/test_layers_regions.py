"""ROIPooling, PSROIPooling and proposals against loops over cells, and the examples of their forks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.caffe.layers import roi_pooling
from caffe_gp.errors import NetError, OutOfMemoryError
from tests.caffe.layer_harness import Run, assert_close

RNG = np.random.RandomState(4)


def refused(message, text, inputs, **options):
    with pytest.raises(NetError, match=message) as caught:
        Run(text, inputs, **options)
    assert "layer 'layer'" in str(caught.value)


def half_up(value):
    """C's round."""
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def cells(start, side, count, size):
    """Rows or columns of each cell."""
    part = np.float32(side) / np.float32(count)
    for i in range(count):
        first = math.floor(np.float32(i) * part) + start
        last = math.ceil(np.float32(i + 1) * part) + start
        yield range(min(max(first, 0), size), min(max(last, 0), size))


# ---- ROIPooling


def roi_pooling_text(height, width, scale):
    return (
        f'type: "ROIPooling" roi_pooling_param {{ pooled_h: {height} pooled_w: {width} '
        f"spatial_scale: {scale} }}"
    )


def pooled(x, rois, height, width, scale):
    """Cell by cell: values, and where each was (image, channel, row, column)."""
    y, places = np.zeros((len(rois), x.shape[1], height, width)), {}
    for r, roi in enumerate(rois):
        x1, y1, x2, y2 = (half_up(np.float32(v) * np.float32(scale)) for v in roi[1:])
        rows = cells(y1, max(y2 - y1 + 1, 1), height, x.shape[2])
        columns = list(cells(x1, max(x2 - x1 + 1, 1), width, x.shape[3]))
        for (i, down), (j, across), c in itertools.product(
            enumerate(rows), enumerate(columns), range(x.shape[1])
        ):
            inside = [(x[int(roi[0]), c, h, w], -h, -w) for h, w in itertools.product(down, across)]
            if inside:
                y[r, c, i, j], h, w = max(inside)
                places[r, c, i, j] = int(roi[0]), c, -h, -w
    return y, places


def random_rois(count, images, height, width, scale):
    """Some of them outside the image, one inside out."""
    corners = RNG.rand(count, 4) * np.array([width, height] * 2) * 1.6 / scale - 0.3 * width / scale
    corners[1:, 2:] = np.maximum(corners[1:, :2], corners[1:, 2:])
    return np.concatenate([RNG.randint(images, size=(count, 1)), corners], 1)


def test_roi_pooling_of_the_fact_sheet():
    run = Run(roi_pooling_text(2, 2, 0.5), [np.arange(16).reshape(1, 1, 4, 4), [[0, 0, 0, 5, 3]]])
    assert_close(run.data[0], [[[[5, 7], [9, 11]]]])


@pytest.mark.parametrize("size, scale", [((3, 4), 0.25), ((1, 1), 1), ((7, 2), 0.0625), ((12, 9), 0.5)])
@pytest.mark.parametrize("at_once", [1, 300, 1 << 22])
def test_roi_pooling(monkeypatch, size, scale, at_once):
    """Values, ties and gradient; some or all channels at a time."""
    monkeypatch.setattr(roi_pooling, "_AT_ONCE", at_once)
    x = RNG.randint(-4, 4, (2, 3, 8, 10)).astype(np.float64)  # many equal ones
    rois = random_rois(12, 2, 8, 10, scale)
    for channels_last in (False, True):
        run = Run(roi_pooling_text(*size, scale), [x, rois], channels_last=channels_last)
        expected, places = pooled(x, rois, *size, scale)
        assert_close(run.data[0], expected)
        dy, dx = RNG.randn(*expected.shape), np.zeros(x.shape)
        for top, bottom in places.items():
            dx[bottom] += dy[top]
        run.bottom[1].diff[...] = 5
        found = run.backward([dy])
        assert_close(found[0], dx)
        assert not found[1].any()


def test_roi_pooling_takes_any_number_of_regions():
    x = RNG.randn(1, 2, 6, 6)
    run = Run(roi_pooling_text(2, 2, 1), [x, random_rois(3, 1, 6, 6, 1)])
    for count in (7, 0, 1):
        rois = random_rois(count, 1, 6, 6, 1) if count else np.zeros((0, 5))
        run.bottom[1].reshape(count, 5, 1, 1)
        run.bottom[1].data[...] = rois.reshape(count, 5, 1, 1)
        run.forward()
        assert_close(run.data[0], pooled(x, rois, 2, 2, 1)[0])
        assert run.backward([np.ones((count, 2, 2, 2))])[0].shape == x.shape
    run.bottom[0].reshape(1, 2, 0, 6)
    run.forward()
    assert not run.data[0].any()


def test_roi_pooling_of_a_real_size():
    """VGG16's at 600 x 1000: 300 regions of 512 channels; some against the loops."""
    x = RNG.randn(1, 512, 38, 63).astype(np.float32)
    rois = random_rois(300, 1, 38, 63, 0.0625)
    run = Run(roi_pooling_text(7, 7, 0.0625), [x, rois])
    for i in range(0, 300, 60):
        expected, _ = pooled(x[:, :2].astype(np.float64), rois[i : i + 1], 7, 7, 0.0625)
        assert_close(run.data[0][i : i + 1, :2], expected)
    dy = np.ones(run.top[0].shape, np.float32)
    assert run.backward([dy], [True, False])[0].sum() == np.count_nonzero(run.layer._index.numpy() >= 0)


def test_maxima_pass_over_what_is_no_number():
    x = np.full((1, 1, 4, 4), np.nan)
    x[0, 0, 1, 1], x[0, 0, 3, 3] = -7, -np.inf
    run = Run(roi_pooling_text(2, 2, 1), [x, [[0, 0, 0, 3, 3]]])
    least = np.finfo(np.float32).min
    assert (run.data[0][0, 0] == np.float32([[-7, least], [least, least]])).all()
    dx = run.backward([np.ones((1, 1, 2, 2))])[0]
    assert dx.sum() == dx[0, 0, 1, 1] == 1


# ---- PSROIPooling


def psroi_text(dim, group, scale):
    return (
        f'type: "PSROIPooling" psroi_pooling_param {{ output_dim: {dim} group_size: {group} '
        f"spatial_scale: {scale} }}"
    )


def position_sensitive(x, rois, dim, group, scale):
    y = np.zeros((len(rois), dim, group, group))
    scale, f = np.float32(scale), np.float32
    for r, roi in enumerate(rois):
        x1, y1 = (f(half_up(f(v))) * scale for v in roi[1:3])
        x2, y2 = ((f(half_up(f(v))) + f(1)) * scale for v in roi[3:])
        part = [max(b - a, f(0.1)) / f(group) for a, b in ((y1, y2), (x1, x2))]
        for c, i, j in itertools.product(range(dim), range(group), range(group)):
            spans = []
            for k, start, step, size in ((i, y1, part[0], x.shape[2]), (j, x1, part[1], x.shape[3])):
                low, high = math.floor(f(k) * step + start), math.ceil(f(k + 1) * step + start)
                spans.append(slice(min(max(low, 0), size), min(max(high, 0), size)))
            values = x[int(roi[0]), (c * group + i) * group + j, spans[0], spans[1]]
            y[r, c, i, j] = values.mean() if values.size else 0
    return y


def test_psroi_pooling_of_the_fact_sheet():
    run = Run(psroi_text(1, 2, 1), [np.arange(36).reshape(1, 4, 3, 3), [[0, 0, 0, 2, 2]]])
    assert_close(run.data[0].ravel(), [2, 12, 23, 33])


@pytest.mark.parametrize("dim, group, scale", [(2, 3, 0.25), (1, 1, 1), (3, 2, 0.0625), (1, 4, 0.5)])
@pytest.mark.parametrize("at_once", [1, 40, 1 << 22])
def test_psroi_pooling(monkeypatch, dim, group, scale, at_once):
    monkeypatch.setattr(roi_pooling, "_AT_ONCE", at_once)
    x, rois = RNG.randn(2, dim * group**2, 8, 10), random_rois(9, 2, 8, 10, scale)
    for channels_last in (False, True):
        run = Run(psroi_text(dim, group, scale), [x, rois], channels_last=channels_last)
        assert_close(run.data[0], position_sensitive(x, rois, dim, group, scale))
        dy = RNG.randn(*run.top[0].shape)
        run.bottom[1].diff[...] = 5
        found = run.backward([dy])
        assert not found[1].any()
        # The map is linear in x, so the adjoint identity determines the gradient.
        for probe in RNG.randn(4, *x.shape):
            there = (position_sensitive(probe, rois, dim, group, scale) * dy).sum()
            np.testing.assert_allclose((found[0] * probe).sum(), there, rtol=1e-4, atol=1e-4)


def test_what_is_no_number_stays_in_its_cells():
    x = np.zeros((1, 4, 4, 4))
    x[0, 3, 3, 3] = np.nan
    run = Run(psroi_text(1, 2, 1), [x, [[0, 0, 0, 3, 3], [0, 0, 0, 2, 2]]])
    assert np.isnan(run.data[0]).sum() == 1 and np.isnan(run.data[0][0, 0, 1, 1])


# ---- both


POOLINGS = {"roi": roi_pooling_text(2, 2, 0.5), "psroi": psroi_text(1, 2, 0.5)}


@pytest.mark.parametrize("kind", POOLINGS)
@pytest.mark.parametrize(
    "roi, says",
    [
        ([1, 0, 0, 5, 5], "region 1 is of image 1, expected 0 to 0"),
        ([-1, 0, 0, 5, 5], "of image -1, expected 0"),
        ([np.nan, 0, 0, 5, 5], "of image nan, expected 0"),
        ([0, np.nan, 0, 5, 5], r"region 1 \(nan, 0, 5, 5\) has corners that are no places"),
        ([0, 0, 0, np.inf, 5], "no places in an image"),
        ([0, 0, -1e30, 5, 5], "no places in an image"),
        ([0, 0, 0, 5, 3e38], "no places in an image"),
    ],
)
def test_regions_that_are_none(kind, roi, says):
    refused(says, POOLINGS[kind], [np.zeros((1, 4, 6, 6)), [[0, 0, 0, 5, 5], roi]])


@pytest.mark.parametrize("kind", POOLINGS)
def test_regions_of_other_shapes(kind):
    refused(
        r"five values a region .*found \(2, 4\)", POOLINGS[kind], [np.zeros((1, 4, 6, 6)), np.zeros((2, 4))]
    )
    refused(r"must have 4 axes, found \(4, 6\)", POOLINGS[kind], [np.zeros((4, 6)), np.zeros((2, 5))])


@pytest.mark.parametrize(
    "text, says",
    [
        (roi_pooling_text(0, 2, 1), r"must be given and positive, found \(0, 2\)"),
        ('type: "ROIPooling" roi_pooling_param { pooled_h: 2 }', r"found \(2, 0\)"),
        (roi_pooling_text(2, 2, 0), "spatial_scale must be positive and finite, found 0"),
        (roi_pooling_text(2, 2, "nan"), "found nan"),
        (psroi_text(1, 2, "inf"), "found inf"),
        (psroi_text(0, 2, 1), "must be positive, found 0, 2"),
        (psroi_text(2, 2, 1), "output_dim 2 and group_size 2 need 8 channels, found 4"),
        ('type: "PSROIPooling" psroi_pooling_param { output_dim: 1 group_size: 2 }', "needs spatial_scale"),
    ],
)
def test_parameters_of_poolings(text, says):
    refused(says, text, [np.zeros((1, 4, 6, 6)), np.zeros((2, 5))])


def test_a_pooling_that_asks_for_too_much(monkeypatch):
    monkeypatch.setenv("CAFFE_GP_MAX_BYTES", "100000000")
    text = (
        'input: "x" input_shape { dim: 1 dim: 1 dim: 40 dim: 40 } input: "r" input_shape { dim: 1 dim: 5 }'
        'layer { name: "pool" bottom: "x" bottom: "r" top: "y" ' + roi_pooling_text(4_000, 4_000, 1) + " }"
    )
    with pytest.raises(OutOfMemoryError, match="'pool'"):
        caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST)
