"""SSD's Permute and Normalize against numpy, and PriorBox and DetectionOutput against loops over boxes."""

from __future__ import annotations

import itertools
import logging
import tracemalloc

import numpy as np
import pytest

from caffe_gp.errors import NetError
from tests.caffe.layer_harness import Run, assert_close, check_layer, numeric_gradient

RNG = np.random.RandomState(5)


def refused(message, text, inputs, **options):
    with pytest.raises(NetError, match=message) as caught:
        Run(text, inputs, **options)
    assert "layer 'layer'" in str(caught.value)


# ---- Permute


def permute(*order):
    return 'type: "Permute" permute_param { ' + " ".join(f"order: {axis}" for axis in order) + " }"


@pytest.mark.parametrize(
    "order, whole",
    [
        ((0, 2, 3, 1), (0, 2, 3, 1)),
        ((0, 3, 1, 2), (0, 3, 1, 2)),
        ((3, 2, 1, 0), (3, 2, 1, 0)),
        ((1,), (1, 0, 2, 3)),
        ((0, 3), (0, 3, 1, 2)),
        ((0, 1), (0, 1, 2, 3)),
        ((), (0, 1, 2, 3)),
    ],
)
def test_permute(order, whole):
    check_layer(permute(*order), [RNG.randn(2, 3, 4, 5)], lambda x: np.transpose(x, whole))


def test_permute_of_many_axes_and_of_none():
    check_layer(permute(4, 0, 2), [RNG.randn(2, 1, 3, 2, 2)], lambda x: np.transpose(x, (4, 0, 2, 1, 3)))
    check_layer(permute(), [np.float32(3)], lambda x: x)


@pytest.mark.parametrize("channels_last", [False, True])
def test_what_permute_makes_is_its_own(channels_last):
    """Also where the bottom's memory, channels last, already lies in the top's order."""
    run = Run(permute(0, 2, 3, 1), [RNG.randn(1, 3, 4, 5)], channels_last=channels_last)
    before = run.bottom[0].data.copy()
    run.top[0].data_tensor.zero_()
    assert np.array_equal(run.bottom[0].data, before) and not run.top[0].data.any()


def test_an_order_that_changes_nothing_shares_data_and_diff():
    run = Run(permute(0, 1), [RNG.randn(2, 3, 4)])
    run.top[0].data[...] = 7
    run.top[0].diff[...] = 8
    assert (run.bottom[0].data == 7).all() and (run.bottom[0].diff == 8).all()
    run.bottom[0].reshape(4, 5, 6)
    run.forward()
    run.top[0].data[...] = 9
    assert run.top[0].shape == (4, 5, 6) and (run.bottom[0].data == 9).all()


def test_permute_takes_shapes_that_change():
    run = Run(permute(0, 2, 3, 1), [RNG.randn(1, 3, 4, 5)])
    for shape in ((2, 3, 4, 5), (1, 2, 7, 3), (0, 2, 7, 3)):
        x = RNG.randn(*shape)
        run.bottom[0].reshape(*shape)
        run.bottom[0].data[...] = x
        run.forward()
        assert_close(run.data[0], x.transpose(0, 2, 3, 1))
        dy = RNG.randn(*run.top[0].shape)
        assert_close(run.backward([dy])[0], dy.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("order", [(0, 0), (4,), (2**32 - 1,), (0, 1, 2, 3, 4), tuple(range(1000))])
def test_permute_refuses(order):
    refused(
        r"permute_param.order must name axes .*\(1, 2, 3, 4\), 0 to 3, each once",
        permute(*order),
        [np.zeros((1, 2, 3, 4))],
    )


def test_permute_in_place():
    refused("does not work in place", permute(1, 0), [np.zeros((2, 2))], in_place=True)
    run = Run(permute(1, 0), [np.zeros((2, 2))])
    run.bottom[0].reshape(2, 2, 2)
    with pytest.raises(NetError, match=r"set up for 2 axes.*\(2, 2, 2\)"):
        run.forward()


# ---- Normalize


def normalize(rest):
    return f'type: "Normalize" norm_param {{ {rest} }}'


def normalized(x, s, across, eps=1e-10):
    norm = np.sqrt((x**2).sum(tuple(range(1, x.ndim)) if across else 1, keepdims=True) + eps)
    return x / norm * (s.reshape(1, -1, *[1] * (x.ndim - 2)) if s.ndim else s)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4, 2), (2, 5), (1, 2, 1, 1)])
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("eps", [1e-10, 0.5])
@pytest.mark.parametrize("shared", [True, False])
def test_normalize(shape, across, eps, shared):
    """With one scale for all channels, or equal ones, the fork's gradient is the derivative."""
    scale = np.full(() if shared else shape[1], 1.7)
    text = normalize(f"across_spatial: {across} channel_shared: {shared} eps: {eps}".lower())
    check_layer(
        text,
        [RNG.randn(*shape) * 3],
        lambda x, s: normalized(x, s, across, eps),
        params=[scale],
        in_place=True,
    )


def test_normalize_of_the_fact_sheet():
    run = Run(
        normalize("across_spatial: false channel_shared: false"),
        [np.array([3, 4]).reshape(1, 2, 1, 1)],
        params=[[10, 20]],
    )
    assert_close(run.data[0].ravel(), [6, 16])
    dx = run.backward([np.array([1, 0]).reshape(1, 2, 1, 1)])[0].ravel()
    assert_close(dx, [1.28, -1.92])  # the derivative would be 1.28, -0.96


@pytest.mark.parametrize("across", [True, False])
def test_a_gradient_for_unequal_scales_is_the_forks(across):
    """s in front of the sum instead of in it: the finite difference for one scale, channel by channel."""
    x, dy, scale = RNG.randn(2, 3, 4, 5), RNG.randn(2, 3, 4, 5), np.array([0.5, 3.0, -2.0])
    run = Run(normalize(f"across_spatial: {across} channel_shared: false".lower()), [x], params=[scale])
    assert_close(run.data[0], normalized(x, scale, across))
    gradient = numeric_gradient(lambda v: float((normalized(v, np.float64(1), across) * dy).sum()), x)
    run.layer.blobs[0].diff[...] = [1, 2, 3]
    assert_close(run.backward([dy])[0], gradient * scale[:, None, None], 1e-4)
    added = (normalized(x, np.float64(1), across) * dy).sum((0, 2, 3))
    assert_close(run.layer.blobs[0].diff, added + [1, 2, 3])


def test_normalize_fills_its_scale():
    x = np.ones((1, 4, 1, 1))
    assert Run(normalize(""), [x]).layer.blobs[0].shape == ()
    assert_close(Run(normalize(""), [x]).data[0].ravel(), [0.5] * 4)
    twenty = Run(normalize("channel_shared: false scale_filler { value: 20 }"), [x])
    assert twenty.layer.blobs[0].shape == (4,)
    assert_close(twenty.data[0].ravel(), [10] * 4)


@pytest.mark.parametrize("across", [True, False])
def test_normalize_takes_larger_batches_and_images(across):
    """The fork has room for the norms of its first batch only."""
    run = Run(normalize(f"across_spatial: {across} eps: 0".lower()), [RNG.randn(1, 3, 2, 2)])
    for shape in ((5, 3, 2, 2), (2, 7, 6, 1)):
        x, dy = RNG.randn(*shape), RNG.randn(*shape)
        run.bottom[0].reshape(*shape)
        run.bottom[0].data[...] = x
        run.forward()
        assert_close(run.data[0], normalized(x, np.float64(1), across))
        unit, dx = normalized(x, np.float64(1), across), run.backward([dy])[0]
        axes = (1, 2, 3) if across else 1
        assert np.abs((dx * unit).sum(axes)).max() < 1e-5  # no change of length


def test_normalize_refuses():
    one = "channel_shared: false"
    for shape in ((3,), (1, 2, 3, 4, 5), ()):
        refused(r"2 to 4 axes, found shape", normalize(one), [np.zeros(shape)])
    run = Run(normalize(one), [np.zeros((1, 3, 2, 2))])
    run.bottom[0].reshape(1, 4, 2, 2)
    with pytest.raises(NetError, match=r"\(1, 4, 2, 2\) does not suit the scale, .* \(3,\)"):
        run.forward()
    run = Run(normalize(""), [np.ones((1, 3, 2, 2))])
    run.bottom[0].reshape(2, 3, 2, 2)
    run.top[0].reshape(2, 3, 2, 2)
    with pytest.raises(NetError, match="forward pass of the same shape"):
        run.backward([np.ones((2, 3, 2, 2))])


# ---- PriorBox


def prior_box(rest):
    return f'type: "PriorBox" prior_box_param {{ {rest} }}'


def priors(rest, size=(1, 2), image=(20, 40)):
    """The boxes (H, W, P, 4) and the variances."""
    run = Run(prior_box(rest), [np.zeros((1, 3, *size)), np.zeros((1, 3, *image))])
    boxes, variances = run.data[0][0].reshape(2, *size, -1, 4)
    return boxes, variances


def ssd_boxes(sizes, ratios, size, image, step=None, offset=0.5, clip=False):
    """SSD's boxes, one after the other. sizes: (m, M or None)."""
    height, width = image
    step_y, step_x = step or (height / size[0], width / size[1])
    found = []
    for y, x in itertools.product(range(size[0]), range(size[1])):
        centre_x, centre_y = (x + offset) * step_x, (y + offset) * step_y
        for low, high in sizes:
            shapes = [(low, low)] + ([(np.sqrt(low * high),) * 2] if high else [])
            for w, h in shapes + [(low * r**0.5, low / r**0.5) for r in ratios]:
                box = [centre_x - w / 2, centre_y - h / 2, centre_x + w / 2, centre_y + h / 2]
                found.append([v / n for v, n in zip(box, (width, height) * 2)])
    found = np.array(found).reshape(*size, -1, 4)
    return found.clip(0, 1) if clip else found


def test_prior_box_of_the_fact_sheet():
    boxes, variances = priors("min_size: 10.7 max_size: 21.9 aspect_ratio: 2")
    assert_close(
        boxes[0, 0],
        [
            [0.125, 0.25, 0.375, 0.75],
            [0.068858, 0.137716, 0.431142, 0.862284],
            [0.073223, 0.323223, 0.426777, 0.676777],
            [0.161612, 0.146447, 0.338388, 0.853553],
        ],
    )
    assert boxes.shape == (1, 2, 4, 4)
    assert_close(variances, np.full((1, 2, 4, 4), 0.1))


@pytest.mark.parametrize(
    "rest, options",
    [
        ("min_size: 7", {"sizes": [(7, None)], "ratios": []}),
        ("min_size: 7 min_size: 9 aspect_ratio: 2", {"sizes": [(7, None), (9, None)], "ratios": [2, 0.5]}),
        ("min_size: 7 max_size: 30 aspect_ratio: 3 flip: false", {"sizes": [(7, 30)], "ratios": [3]}),
        # 0.5 is there already, as 2's reciprocal, and 1 from the start.
        (
            "min_size: 7 aspect_ratio: 2 aspect_ratio: 0.5 aspect_ratio: 1 aspect_ratio: 3",
            {"sizes": [(7, None)], "ratios": [2, 0.5, 3, 1 / 3]},
        ),
        (
            "min_size: 7 min_size: 8 max_size: 12 max_size: 9 clip: true",
            {"sizes": [(7, 12), (8, 9)], "ratios": [], "clip": True},
        ),
        ("min_size: 7 step: 3 offset: 0", {"sizes": [(7, None)], "ratios": [], "step": (3, 3), "offset": 0}),
        ("min_size: 7 step_h: 3 step_w: 5", {"sizes": [(7, None)], "ratios": [], "step": (3, 5)}),
        ("min_size: 7 img_size: 64", {"sizes": [(7, None)], "ratios": [], "image": (64, 64)}),
        ("min_size: 7 img_h: 64 img_w: 32", {"sizes": [(7, None)], "ratios": [], "image": (64, 32)}),
    ],
)
def test_prior_box_of_ssd(rest, options):
    size = (3, 4)
    expected = ssd_boxes(**{"size": size, "image": (21, 50), **options})
    assert_close(priors(rest, size, (21, 50))[0], expected)


@pytest.mark.parametrize(
    "values, expected", [((0.3,), [0.3] * 4), ((0.1, 0.2, 0.3, 0.4), [0.1, 0.2, 0.3, 0.4])]
)
def test_variances(values, expected):
    _, variances = priors("min_size: 4 aspect_ratio: 2" + "".join(f" variance: {v}" for v in values))
    assert_close(variances, np.broadcast_to(expected, (1, 2, 3, 4)))


def test_sizes_lose_what_is_behind_the_point_and_that_is_said(caplog):
    caplog.set_level(logging.WARNING, "caffe_gp.caffe")
    rest = "min_size: 51.2 max_size: 102.9 aspect_ratio: 2"
    boxes, _ = priors(rest)
    assert "'layer' (PriorBox): sizes lose" in caplog.text and "51.2 counts as 51." in caplog.text
    assert_close(boxes, ssd_boxes([(51, 102)], [2, 0.5], (1, 2), (20, 40)))
    caplog.clear()
    boxes, _ = priors(rest + " clip: false offset_h: 0.5 offset_w: 0.5")
    assert not caplog.text
    assert_close(boxes, ssd_boxes([(51.2, 102.9)], [2, 0.5], (1, 2), (20, 40)))
    priors("min_size: 51 max_size: 102")
    assert not caplog.text


def test_prior_box_of_textboxes():
    """Every box at the cell's centre, then the same between this cell and the next below."""
    rest = "min_size: 4.5 max_size: 9 aspect_ratio: 2 aspect_ratio: 5 flip: false"
    boxes, _ = priors(f"{rest} additional_y_offset: true", (3, 2), (20, 40))
    plain = ssd_boxes([(4.5, 9)], [2, 5], (3, 2), (20, 40))
    lower = plain + np.array([0, 0.5 / 3, 0, 0.5 / 3])
    assert_close(boxes, np.stack([plain, lower], 3).reshape(3, 2, 8, 4).clip(0, 1))
    again, _ = priors(f"{rest} offset_h: 0.5 offset_h: 1 offset_w: 0.5 offset_w: 0.5", (3, 2), (20, 40))
    assert_close(again, boxes)


def test_prior_box_of_faceboxes():
    """A size of 32 and density 4 in a step of 32: a box every 8 pixels, cut at the borders."""
    rest = "fixed_size: 32 fixed_size: 7 density: 4 density: 2 step: 32 offset: 0.5 min_size: 10"
    boxes, _ = priors(rest, (2, 3), (64, 96))
    assert boxes.shape == (2, 3, 16 + 4 + 1, 4)
    expected = []
    for y, x in itertools.product(range(2), range(3)):
        centre_x, centre_y = 32 * x + 16, 32 * y + 16
        for side, places in ((32, (-12, -4, 4, 12)), (7, (-3 + 1.5, -3 + 1.5 + 3))):
            for dy, dx in itertools.product(places, places):
                box = [centre_x + dx - side / 2, centre_y + dy - side / 2]
                box += [box[0] + side, box[1] + side]
                expected.append([min(max(v / n, 0), 1) for v, n in zip(box, (96, 64, 96, 64))])
        expected.append([(centre_x - 5) / 96, (centre_y - 5) / 64, (centre_x + 5) / 96, (centre_y + 5) / 64])
    assert_close(boxes.reshape(-1, 4), expected)


def test_fixed_ratios():
    boxes, _ = priors("fixed_size: 8 fixed_ratio: 1 fixed_ratio: 4 density: 1 step: 20", (1, 1), (20, 40))
    assert_close(boxes[0, 0] * [40, 20, 40, 20], [[6, 6, 14, 14], [2, 8, 18, 12]])


def test_boxes_of_given_widths_and_heights():
    boxes, _ = priors("width: 4 height: 6 width: 8 height: 2")
    assert_close(
        boxes[0, :, :, :] * [40, 20, 40, 20],
        [[[8, 7, 12, 13], [6, 9, 14, 11]], [[28, 7, 32, 13], [26, 9, 34, 11]]],
    )


def test_prior_box_takes_shapes_that_change():
    text = prior_box("min_size: 4 aspect_ratio: 2")
    run = Run(text, [np.zeros((1, 3, 2, 2)), np.zeros((1, 3, 16, 16))])
    for size, image in (((3, 5), (30, 50)), ((1, 1), (7, 9)), ((0, 3), (7, 9))):
        run.bottom[0].reshape(1, 3, *size)
        run.bottom[1].reshape(2, 3, *image)
        run.forward()
        expected = ssd_boxes([(4, None)], [2, 0.5], size, image) if size[0] else np.zeros((0, 3, 3, 4))
        assert run.top[0].shape == (1, 2, expected.size)
        assert_close(run.data[0][0, 0], expected.ravel())


@pytest.mark.parametrize(
    "rest, says",
    [
        ("", "needs a min_size"),
        ("aspect_ratio: 2", "needs a min_size"),
        ("min_size: 0", "min_size must be positive, found 0"),
        ("min_size: -3", "min_size must be positive, found -3"),
        ("min_size: nan", "min_size is not a finite number"),
        ("min_size: 4 aspect_ratio: inf", "aspect_ratio is not a finite number"),
        ("min_size: 4 aspect_ratio: 0", "aspect_ratio must be positive"),
        ("min_size: 4 max_size: 4", "larger than it; found min_size .4.0. and max_size .4.0."),
        ("min_size: 4 max_size: 5 max_size: 6", "one for each min_size"),
        ("min_size: 4 variance: 1 variance: 1", "one variance or four, found 2"),
        ("min_size: 4 variance: 0", "variance must be positive"),
        ("min_size: 4 img_size: 3 img_h: 3 img_w: 3", "expected img_size, or img_h and img_w"),
        ("min_size: 4 img_h: 3", "expected img_size, or img_h and img_w"),
        ("min_size: 4 img_size: 0", "img_size, img_h and img_w must be positive"),
        ("min_size: 4 step: 0", "step must be positive"),
        ("min_size: 4 step_w: 2", "expected step, or step_h and step_w"),
        ("min_size: 4 offset: nan", "offset is not a finite number"),
        ("min_size: 4 " + "aspect_ratio: 2 " * 1001, "at most 1000 aspect_ratio, found 1001"),
        ("fixed_size: 4", "a density for each fixed_size, found 1 fixed_size and 0 density"),
        ("min_size: 4 density: 1", "a density for each fixed_size"),
        ("fixed_size: 4.5 density: 1", "must be whole numbers"),
        ("fixed_size: 4 density: 0", "density must be positive"),
        ("fixed_size: 4 density: 1 aspect_ratio: 2", "aspect_ratio is for min_size"),
        ("fixed_size: 4 density: 1 offset_h: 1 offset_w: 1", "fields of two forks, offset_h and density"),
        ("fixed_size: 4 density: 1e5", "10,000,000,000 boxes .* are too many"),
        ("min_size: 4 offset_h: 1", "found 1 offset_h and 0 offset_w"),
        ("min_size: 4 offset_h: 1 offset_w: 1 offset: 1", "no offset and no additional"),
        ("min_size: 4" + " offset_h: 1 offset_w: 1" * 3, "one or two offset_h"),
        ("min_size: 4 offset: 0.3 additional_y_offset: true", "expected no offset"),
        ("width: 4", "as many of both"),
        ("width: 4 height: 4 min_size: 3", "no min_size"),
    ],
)
def test_prior_box_refuses(rest, says):
    refused(says, prior_box(rest), [np.zeros((1, 3, 1, 2)), np.zeros((1, 3, 20, 40))])


def test_prior_box_refuses_bottoms():
    refused(
        r"4 axes, found shape \(3, 2\)", prior_box("min_size: 3"), [np.zeros((3, 2)), np.zeros((1, 3, 4, 4))]
    )
    refused("no pixels", prior_box("min_size: 3"), [np.zeros((1, 1, 2, 2)), np.zeros((1, 3, 0, 4))])
    run = Run(prior_box("min_size: 3"), [np.zeros((1, 1, 2, 2)), np.zeros((1, 3, 9, 4))])
    run.backward([np.ones((1, 2, 16))], [False, False])
    with pytest.raises(NetError, match="no gradient; propagate_down: false"):
        run.backward([np.ones((1, 2, 16))], [True, False])


def test_sides_that_no_float_holds_do_not_break_it():
    boxes, _ = priors("min_size: 3e38 aspect_ratio: 1e-30")
    assert boxes.shape == (1, 2, 3, 4) and np.isfinite(boxes[0, 0, 0]).all()


# ---- DetectionOutput


def detection_output(rest, nms="nms_threshold: 0.45"):
    return f'type: "DetectionOutput" detection_output_param {{ {rest} nms_param {{ {nms} }} }}'


def detect(text, location, confidence, prior):
    """(R, 7) rows."""
    run = Run(text, [location, confidence, prior])
    assert run.top[0].shape[:2] == (1, 1) and run.top[0].shape[3] == 7
    return run.data[0][0, 0]


def three_priors():
    """Locations, foreground scores and priors of the fact sheet."""
    prior = np.array([[0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.52, 0.5], [0.6, 0.6, 0.9, 0.9]])
    variance = np.broadcast_to([0.1, 0.1, 0.2, 0.2], (3, 4))
    location = np.array([[0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0, 1, -1]])
    return location.reshape(1, -1), [0.9, 0.8, 0.3], np.stack([prior, variance]).reshape(1, 2, -1)


def with_background(scores):
    scores = np.array(scores)
    return np.stack([1 - scores, scores], 1).reshape(1, -1)


def test_detection_output_of_the_fact_sheet():
    location, scores, prior = three_priors()
    text = detection_output(
        "num_classes: 2 code_type: CENTER_SIZE confidence_threshold: 0.01 keep_top_k: 200",
        "nms_threshold: 0.45 top_k: 400",
    )
    expected = [[0, 1, 0.9, 0.1, 0.1, 0.5, 0.5], [0, 1, 0.3, 0.56679, 0.62719, 0.93321, 0.87281]]
    assert_close(detect(text, location, with_background(scores), prior), expected)


def overlap(a, b):
    """Intersection over union of two boxes."""
    area = [max(x2 - x1, 0) * max(y2 - y1, 0) for x1, y1, x2, y2 in (a, b)]
    sides = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
    shared = sides[0] * sides[1] if min(sides) > 0 else 0
    return shared / (sum(area) - shared) if shared else 0


def decoded(t, prior, v, code):
    x1, y1, x2, y2 = prior
    w, h = x2 - x1, y2 - y1
    if code == "CORNER":
        return [p + a * b for p, a, b in zip(prior, v, t)]
    if code == "CORNER_SIZE":
        return [p + a * b * n for p, a, b, n in zip(prior, v, t, (w, h, w, h))]
    cx, cy = v[0] * t[0] * w + (x1 + x2) / 2, v[1] * t[1] * h + (y1 + y2) / 2
    bw, bh = np.exp(v[2] * t[2]) * w, np.exp(v[3] * t[3]) * h
    return [cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2]


def detections(
    location, confidence, prior, classes, code="CORNER", share=True, background=0, threshold=None, top_k=-1,
    keep=-1, limit=0.3, eta=1.0, encoded=False,
):  # fmt: skip
    """What SSD finds, box by box, class by class, image by image."""
    count = prior.shape[2] // 4
    location = location.reshape(len(location), count, -1, 4)
    confidence = confidence.reshape(len(location), count, classes)
    boxes, variances = prior.reshape(2, count, 4)
    rows = []
    for image in range(len(location)):
        found = []
        for label in set(range(classes)) - {background}:
            scores = confidence[image, :, label]
            taken = [i for i in range(count) if threshold is None or scores[i] > threshold]
            taken.sort(key=lambda i: -scores[i])
            kept, bound = [], limit
            for i in taken[: top_k if top_k >= 0 else None]:
                t, v = location[image, i, 0 if share else label], [1] * 4 if encoded else variances[i]
                box = decoded(t, boxes[i], v, code)
                if all(overlap(box, other) <= bound for other in kept):
                    kept.append(box)
                    found.append([image, label, scores[i], *box])
                    bound = bound * eta if eta < 1 and bound > 0.5 else bound
        if keep >= 0:
            best = sorted(found, key=lambda row: -row[2])[:keep]
            found = [row for row in found if row in best]
        rows += found
    return np.array(rows).reshape(-1, 7)


def random_predictions(images, count, classes, share, rng):
    corner = rng.rand(count, 2) * 0.8
    prior = np.concatenate([corner, corner + 0.05 + 0.3 * rng.rand(count, 2)], 1)
    variance = np.broadcast_to([0.1, 0.1, 0.2, 0.2], (count, 4))
    location = rng.randn(images, count * (1 if share else classes) * 4)
    confidence = rng.permutation(images * count * classes).reshape(images, count * classes)
    confidence = confidence / max(confidence.size, 1)
    return location, confidence, np.stack([prior, variance]).reshape(1, 2, -1)


@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
@pytest.mark.parametrize(
    "rest, nms, options",
    [
        ("", "", {}),
        ("background_label_id: -1", "nms_threshold: 0.6", {"background": -1, "limit": 0.6}),
        ("background_label_id: 2 keep_top_k: 0", "", {"background": 2, "keep": 0}),
        ("confidence_threshold: 0.3 keep_top_k: 7", "top_k: 9", {"threshold": 0.3, "keep": 7, "top_k": 9}),
        ("confidence_threshold: 0.9 keep_top_k: 300", "top_k: 0", {"threshold": 0.9, "top_k": 0}),
        ("", "nms_threshold: 0.9 eta: 0.8", {"limit": 0.9, "eta": 0.8}),
        ("", "nms_threshold: 0", {"limit": 0}),
        ("", "nms_threshold: 1 top_k: -1", {"limit": 1}),
        ("variance_encoded_in_target: true", "", {"encoded": True}),
        ("confidence_threshold: 2", "", {"threshold": 2}),
    ],
)
@pytest.mark.parametrize("share", [True, False])
def test_detection_output(code, rest, nms, options, share):
    """Two images, four classes, 40 priors, against loops; the nth of equal boxes is found as well."""
    rng = np.random.RandomState(7)
    bottoms = random_predictions(2, 40, 4, share, rng)
    text = f"num_classes: 4 code_type: {code} share_location: {share} {rest}".replace("True", "true")
    expected = detections(*bottoms, 4, code, share, **options)
    if not len(expected):
        expected = np.array([[0] + [-1] * 6, [1] + [-1] * 6])
    found = detect(detection_output(text.replace("False", "false"), nms), *bottoms)
    assert_close(found, expected)


def test_rows_come_by_image_by_label_by_score():
    rng = np.random.RandomState(8)
    rows = detect(detection_output("num_classes: 5"), *random_predictions(3, 60, 5, True, rng))
    keys = [(image, label, -score) for image, label, score, *_ in rows.tolist()]
    assert keys == sorted(keys) and len({key[:2] for key in keys}) == 12


def test_of_equal_scores_the_earlier_prior_and_the_lower_label_come_first():
    prior = np.zeros((2, 6, 4))
    prior[0] = [[x, 0, x + 0.1, 1] for x in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    prior[1] = 1
    bottoms = [np.zeros((1, 24)), np.full((1, 18), 0.5), prior.reshape(1, 2, -1)]
    rows = detect(detection_output("num_classes: 3 keep_top_k: 8", "top_k: 5"), *bottoms)
    assert_close(rows[:, 1], [1] * 5 + [2] * 3)
    assert_close(rows[:, 3], [0, 0.2, 0.4, 0.6, 0.8, 0, 0.2, 0.4])


def test_what_is_no_number_finds_nothing_and_suppresses_nothing():
    location, scores, prior = three_priors()
    confidence = with_background(scores)
    text = detection_output("num_classes: 2 code_type: CENTER_SIZE")
    bad = confidence.copy()
    bad[0, 1] = np.nan  # the best box's score: now the second counts
    rows = detect(text, location, bad, prior)
    assert_close(rows[:, 2], [0.8, 0.3])
    bad = location.copy()
    bad[0, 0] = np.nan  # its place: it is kept, and suppresses nothing
    rows = detect(text, bad, confidence, prior)
    assert_close(rows[:, 2], [0.9, 0.8, 0.3])
    for value in (np.inf, -np.inf, 1e30, np.nan):
        rows = detect(text, np.full_like(location, value), confidence, prior)
        assert rows.shape[1] == 7 and 0.9 in rows[:, 2].round(3)
        assert detect(text, location, np.full_like(confidence, value), prior).shape[1] == 7


def test_nothing_found_is_a_row_an_image():
    bottoms = random_predictions(3, 5, 2, True, np.random.RandomState(1))
    run = Run(detection_output("num_classes: 2 confidence_threshold: 1"), bottoms)
    assert_close(run.data[0], np.array([[i] + [-1] * 6 for i in range(3)]).reshape(1, 1, 3, 7))
    run.layer.reshape(run.bottom, run.top)
    assert run.top[0].shape == (1, 1, 1, 7)
    for images, count in ((0, 5), (2, 0)):
        bottoms = random_predictions(images, count, 2, True, np.random.RandomState(1))
        assert detect(detection_output("num_classes: 2"), *bottoms).shape == (images, 7)


def test_the_number_of_rows_follows_the_data():
    text = detection_output("num_classes: 2 confidence_threshold: 0.5")
    location, _, prior = three_priors()
    run = Run(text, [location, with_background([0.9, 0.1, 0.8]), prior])
    assert run.top[0].shape == (1, 1, 2, 7)
    for scores, rows in (([0.9, 0.8, 0.7], 2), ([0.6, 0.1, 0.1], 1), ([0.1, 0.2, 0.3], 1)):
        run.bottom[1].data[...] = with_background(scores)
        run.forward()
        assert run.top[0].shape == (1, 1, rows, 7)
    assert (run.data[0][0, 0, 0] == [0] + [-1] * 6).all()


@pytest.mark.parametrize(
    "rest, nms, says",
    [
        ("", "", "num_classes must be given"),
        ("num_classes: 0", "", "num_classes must be given and positive"),
        ("num_classes: 2 visualize: true", "", "visualize: true opens windows"),
        ("num_classes: 2 confidence_threshold: nan", "", "confidence_threshold is not a number"),
        ("num_classes: 2", "nms_threshold: -0.1", "nms_threshold must be at least 0, found -0.1"),
        ("num_classes: 2", "nms_threshold: nan", "nms_threshold must be at least 0, found nan"),
        ("num_classes: 2", "eta: 0", "eta must be above 0 and at most 1, found 0"),
        ("num_classes: 2", "eta: 1.5", "found 1.5"),
        ("num_classes: 3", "", "3 priors need 12 locations and 9 confidences an image, found 12 and 6"),
        ("num_classes: 2 share_location: false", "", "3 priors need 24 locations .*found 12 and 6"),
        ("num_classes: 4294967295", "", "need 12 locations and 12884901885 confidences"),
    ],
)
def test_detection_output_refuses(rest, nms, says):
    location, scores, prior = three_priors()
    refused(says, detection_output(rest, nms), [location, with_background(scores), prior])


def test_detection_output_refuses_bottoms():
    location, scores, prior = three_priors()
    confidence, text = with_background(scores), detection_output("num_classes: 2")
    refused(r"\(1, 2, 4 \* priors\), found \(2, 12\)", text, [location, confidence, prior[0]])
    refused(r"\(1, 2, 4 \* priors\)", text, [location, confidence, prior[:, :1]])
    refused("differ in batch size", text, [location, np.tile(confidence, (2, 1)), prior])
    refused(
        r"found 24 and 12. Twice as many: .*TextBoxes.*additional_y_offset: true",
        text,
        [np.tile(location, 2), np.tile(confidence, 2), prior],
    )
    run = Run(text, [location, confidence, prior])
    with pytest.raises(NetError, match="has no gradient"):
        run.backward([np.zeros((1, 1, 2, 7))], [True, False, False])
    run.backward([np.zeros((1, 1, 2, 7))], [False] * 3)


def test_files_that_ssd_would_write_are_not_written_and_that_is_said(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "caffe_gp.caffe")
    location, scores, prior = three_priors()
    given = f'output_directory: "{tmp_path}/out" output_format: "VOC" label_map_file: "a" name_size_file: "b"'
    for some, said in ((given, True), (given.replace("name_size_file", "output_name_prefix"), False)):
        caplog.clear()
        text = detection_output(f"num_classes: 2 save_output_param {{ {some} }}")
        assert len(detect(text, location, with_background(scores), prior)) == 2
        assert ("'layer' (DetectionOutput): writes no files" in caplog.text) == said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "rest, nms",
    [
        ("keep_top_k: 20", "top_k: 40"),
        ("", ""),
        ("confidence_threshold: 0.99", ""),
        ("share_location: false", ""),
    ],
)
def test_what_a_forward_takes_is_stated(rest, nms):
    share = "share" not in rest
    bottoms = random_predictions(2, 2000, 21, share, np.random.RandomState(3))
    run = Run(detection_output(f"num_classes: 21 code_type: CENTER_SIZE {rest}", nms), bottoms)
    stated = run.layer.workspace(run.bottom, run.top) + run.layer.kept(run.bottom, run.top)
    tracemalloc.start()
    try:
        run.forward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * stated + 1e5
