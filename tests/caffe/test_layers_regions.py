"""ROIPooling, PSROIPooling and proposals against loops over cells, and the examples of their forks."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest

import caffe_gp.caffe as caffe
from caffe_gp import engines, proto
from caffe_gp.caffe.layers import roi_pooling
from caffe_gp.caffe.layers.proposal import base_anchors
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
    assert run.backward([np.ones((1, 2, 2, 2))])[0].size == 0


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


@pytest.mark.parametrize("kind", POOLINGS)
def test_regions_that_cover_too_much(monkeypatch, kind):
    """A million of them over an image of a million pixels would take hours."""
    monkeypatch.setattr(roi_pooling, "_MOST_WORK", 10_000)
    x, whole = np.zeros((1, 4, 20, 20)), [[0, 0, 0, 39, 39]]
    refused("the regions cover [0-9,]+ pixels of [14] channels, more than", POOLINGS[kind], [x, whole * 9])
    Run(POOLINGS[kind], [x, [[0, 0, 0, 3, 3]]])


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


# ---- proposals

PVANET = 'type: "Proposal" proposal_param {{ ratio: 0.5 ratio: 1 ratio: 2 scale: 8 scale: 16 scale: 32 {} }}'
PY_FASTER_RCNN = """type: "Python" python_param {{ module: "rpn.proposal_layer" layer: "ProposalLayer"
    param_str: "{}" }}"""


def test_anchors_are_those_of_py_faster_rcnn():
    expected = [
        (-84, -40, 99, 55), (-176, -88, 191, 103), (-360, -184, 375, 199),
        (-56, -56, 71, 71), (-120, -120, 135, 135), (-248, -248, 263, 263),
        (-36, -80, 51, 95), (-80, -168, 95, 183), (-168, -344, 183, 359),
    ]  # fmt: skip
    assert base_anchors(16, (0.5, 1, 2), (8, 16, 32), np.round).tolist() == [list(row) for row in expected]
    assert base_anchors(16, (1,), (1,), np.round).tolist() == [[0, 0, 15, 15]]


def proposals(probability, deltas, info, stride, anchors, pre, post, threshold, least, drop):
    """Place by place, anchor by anchor."""
    height, width = probability.shape[2:]
    found = []
    for y, x, a in itertools.product(range(height), range(width), range(len(anchors))):
        x1, y1, x2, y2 = anchors[a] + np.array([x, y] * 2) * stride
        w, h = x2 - x1 + 1, y2 - y1 + 1
        d = deltas[0, 4 * a : 4 * a + 4, y, x]
        cx, cy = d[0] * w + x1 + w / 2, d[1] * h + y1 + h / 2
        pw, ph = np.exp(d[2]) * w, np.exp(d[3]) * h
        box = [cx - pw / 2, cy - ph / 2, cx + pw / 2, cy + ph / 2]
        box = [min(max(v, 0), size - 1) for v, size in zip(box, (info[1], info[0]) * 2)]
        score = probability[0, len(anchors) + a, y, x]
        if box[2] - box[0] + 1 < least[1] or box[3] - box[1] + 1 < least[0]:
            if drop:
                continue
            score = 0
        found.append((score, box))
    found.sort(key=lambda pair: -pair[0])
    kept = []
    for score, box in found[:pre]:
        areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, *(other for _, other in kept))]
        for (_, other), area in zip(kept, areas[1:]):
            sides = [min(box[i + 2], other[i + 2]) - max(box[i], other[i]) + 1 for i in (0, 1)]
            shared = max(sides[0], 0) * max(sides[1], 0)
            if shared / (areas[0] + area - shared) > threshold:
                break
        else:
            kept.append((score, box))
    return kept[:post]


@pytest.mark.parametrize("python", [True, False])
@pytest.mark.parametrize("phase", [0, 1])
def test_proposals(python, phase):
    rng = np.random.RandomState(6)
    probability = rng.permutation(18 * 5 * 7).reshape(1, 18, 5, 7) / 1000
    deltas = rng.randn(1, 36, 5, 7) * 0.4
    anchors = base_anchors(16, (0.5, 1, 2), (8, 16, 32), np.round)
    if python:
        text, info = PY_FASTER_RCNN.format("'feat_stride': 16"), [80, 112, 1.5]
        pre, post = ((12000, 2000), (6000, 300))[phase]
        options = {"pre": pre, "post": post, "threshold": 0.7, "least": (24, 24), "drop": True}
    else:
        rest = "feat_stride: 16 min_size: 20 pre_nms_topn: 250 post_nms_topn: 40 nms_thresh: 0.6"
        text, info = PVANET.format(rest), [80, 112, 1.5, 0.5]
        options = {"pre": 250, "post": 40, "threshold": 0.6, "least": (30, 10), "drop": False}
    run = Run(text, [probability, deltas, [info]], num_top=2, phase=phase)
    kept = proposals(probability, deltas, info, 16, anchors, **options)
    assert len(kept) > 20
    rois, scores = run.data
    assert_close(rois, np.array([[0, *box] for _, box in kept]))
    assert_close(scores.ravel(), [score for score, _ in kept])
    assert scores.shape == ((len(kept), 1, 1, 1) if python else (len(kept),))
    for blob in run.bottom:
        blob.diff[...] = 3
    assert not any(diff.any() for diff in run.backward([np.ones(blob.shape) for blob in run.top]))


def test_tops_before_a_forward():
    bottoms = 'bottom: "p" bottom: "d" bottom: "i"'
    inputs = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {n}" for n in shape)} }} '
        for name, shape in (("p", (1, 18, 2, 2)), ("d", (1, 36, 2, 2)), ("i", (1, 4)))
    )
    layer = f'layer {{ name: "a" {bottoms} top: "r" {PVANET.format("")} }}'
    net = caffe.Net.from_param(proto.parse_net_param(inputs + layer), caffe.TEST)
    assert net.blobs["r"].shape == (300, 5)
    net.forward()
    assert 0 < net.blobs["r"].shape[0] < 300


def test_what_is_no_number_is_no_proposal():
    probability, deltas = np.full((1, 18, 3, 3), 0.5), np.zeros((1, 36, 3, 3))
    deltas[0, :, 0] = np.nan
    deltas[0, :, 1] = np.inf
    probability[0, :, 2, 0] = np.nan
    python = PY_FASTER_RCNN.format("'feat_stride': 16")
    for text, info in ((python, [48, 48, 0.1]), (PVANET.format(""), [48, 48, 1, 1])):
        rois = Run(text, [probability, deltas, [info]]).data[0]
        assert len(rois) and np.isfinite(rois).all()
    nothing = Run(python, [probability, deltas, [[48, 48, 100]]])
    assert nothing.top[0].shape == (0, 5)


@pytest.mark.parametrize(
    "text, scales",
    [
        ("'feat_stride': 16", 3),
        ('{\\"feat_stride\\": 16}', 3),
        ("feat_stride: 16", 3),
        ("'feat_stride': 16\\n'scales': [4, 8, 16, 32]", 4),
        ("{'feat_stride': 16, 'scales': !!python/tuple [4.0, 8]}", 2),
        ("'scales': (8,), 'feat_stride': 16.0", 1),
    ],
)
def test_param_str(text, scales):
    bottoms = [np.zeros((1, 6 * scales, 2, 2)), np.zeros((1, 12 * scales, 2, 2)), [[32, 32, 0.1]]]
    assert Run(PY_FASTER_RCNN.format(text), bottoms).data[0].shape[1] == 5


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "param_str: feat_stride is missing"),
        ("'scales': [8]", "feat_stride is missing"),
        ("'feat_stride': 0", "feat_stride must be positive and finite"),
        ("'feat_stride': nan", "feat_stride must be positive and finite"),
        ("'feat_stride': [16, 8]", "feat_stride is missing, or more than one"),
        ("'feat_stride': 16, 'scales': []", "scales must be positive"),
        ("'feat_stride': sixteen", "could not convert"),
        ("'feat_stride': 16, 'ratios': [1]", "no parameter 'ratios'"),
        ("'feat_stride': 16 16", "cannot read"),
        ("{'feat_stride': {}}", "cannot read"),
        ("!!python/object:os.system", "cannot read"),
    ],
)
def test_a_param_str_that_is_none(text, says):
    bottoms = [np.zeros((1, 18, 2, 2)), np.zeros((1, 36, 2, 2)), [[32, 32, 1]]]
    refused(f"{says}.*expected \"'feat_stride': 16\"", PY_FASTER_RCNN.format(text), bottoms)


@pytest.mark.parametrize(
    "rest, says",
    [
        ("feat_stride: 0", "feat_stride and nms_thresh must be positive and finite, found 0, 0.7"),
        ("nms_thresh: nan", "found 16, nan"),
        ("nms_thresh: -1", "found 16, -1"),
        ("pre_nms_topn: 0", "must be positive, found 0, 300"),
        ("post_nms_topn: 0", "must be positive, found 6000, 0"),
        ("base_size: 0", "base_size, ratio and scale must be positive"),
        ("scale: inf", "base_size, ratio and scale must be positive"),
        ("scale: 64", r"12 anchors need probabilities \(1, 24, H, W\) .*found \(1, 18, 2, 2\)"),
    ],
)
def test_parameters_of_proposals(rest, says):
    bottoms = [np.zeros((1, 18, 2, 2)), np.zeros((1, 36, 2, 2)), [[32, 32, 1, 1]]]
    refused(says, PVANET.format(rest), bottoms)
    refused("needs a ratio and a scale", 'type: "Proposal" proposal_param { ratio: 1 }', bottoms)


@pytest.mark.parametrize("text", [PVANET.format(""), PY_FASTER_RCNN.format("'feat_stride': 16")])
def test_bottoms_of_proposals(text):
    probability, deltas, info = np.zeros((1, 18, 2, 2)), np.zeros((1, 36, 2, 2)), np.zeros((1, 5))
    refused("of the image, found shape", text, [probability, deltas, info])
    for pair in (
        (np.zeros((2, 18, 2, 2)), np.zeros((2, 36, 2, 2))),
        (probability, np.zeros((1, 36, 2, 3))),
        (probability[0], deltas[0]),
        (np.zeros((1, 9, 2, 2)), deltas),
    ):
        refused("9 anchors need probabilities", text, [*pair, info])


# ---- whose layer it is

NET = """
    input: "p" input_shape { dim: 1 dim: 18 dim: 2 dim: 2 }
    input: "d" input_shape { dim: 1 dim: 36 dim: 2 dim: 2 }
    input: "i" input_shape { dim: 1 dim: 3 }
    layer { name: "proposal" bottom: "p" bottom: "d" bottom: "i" top: "rois" """
NET += PY_FASTER_RCNN.format("'feat_stride': 16") + "}"
OWN = """
import caffe
open({ran!r}, "w").close()
class ProposalLayer(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(7, 5)
    def forward(self, bottom, top): top[0].data[...] = 7
    def backward(self, top, propagate_down, bottom): pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A prototxt; modules of this name that a test imports are forgotten after it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "rpn"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "net.prototxt").write_text(NET)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "rpn"]:
        del sys.modules[name]


def write_own(folder):
    """A module of the user's; the file that it makes when it is run."""
    (folder / "rpn").mkdir()
    (folder / "rpn/__init__.py").write_text("")
    (folder / "rpn/proposal_layer.py").write_text(OWN.format(ran=str(folder / "ran")))
    return folder / "ran"


def test_without_a_module_of_that_name_the_built_in_layer_runs(folder):
    net = caffe.Net(str(folder / "net.prototxt"), caffe.TEST)
    assert net.layers[-1].type == "PythonProposal" and "rpn" not in sys.modules
    net.blobs["i"].data[...] = [32, 32, 0.1]
    net.forward()
    assert net.blobs["rois"].data.shape[1] == 5


def test_the_users_own_goes_first(folder):
    ran = write_own(folder)
    net = caffe.Net(str(folder / "net.prototxt"), caffe.TEST)
    net.forward()
    assert ran.exists() and (net.blobs["rois"].data == 7).all()


def test_the_built_in_layer_needs_no_leave_and_the_users_own_does(folder):
    """As a file of another's: whatever lies beside it is not imported."""
    with_score = (
        NET
        + """
        layer { name: "s" type: "InnerProduct" bottom: "rois" top: "s" inner_product_param { num_output: 2 } }
        layer { name: "prob" type: "Softmax" bottom: "s" top: "prob" }"""
    )
    (folder / "net.prototxt").write_text(with_score)
    ran = write_own(folder)

    def prepared(allowed):
        options = {"engine": "torch", "inputs": {"d": 0, "i": np.array([32, 32, 0.1])}}
        return engines.prepare_net(folder / "net.prototxt", allow_python_layers=allowed, **options)

    kinds = {layer.name: layer.type for layer in prepared(()).net.layer}
    assert kinds["proposal"] == "PythonProposal" and not ran.exists()
    kinds = {layer.name: layer.type for layer in prepared(("rpn.proposal_layer",)).net.layer}
    assert kinds["proposal"] == "Python"
