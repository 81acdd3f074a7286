"""Reorg and the YOLO ports' detection outputs against loops, and the examples of their fork."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from caffe_gp.errors import NetError
from tests.caffe.layer_harness import Run, assert_close, check_layer

RNG = np.random.RandomState(3)


def refused(message, text, inputs, **options):
    with pytest.raises(NetError, match=message) as caught:
        Run(text, inputs, **options)
    assert "layer 'layer'" in str(caught.value)


# ---- Reorg


def reorg(stride, reverse=False):
    return f'type: "Reorg" reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}'


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((4, 2, 2), [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15]),
        (
            (4, 2, 4),
            [0, 2, 4, 6, 16, 18, 20, 22, 1, 3, 5, 7, 17, 19, 21, 23]
            + [8, 10, 12, 14, 24, 26, 28, 30, 9, 11, 13, 15, 25, 27, 29, 31],
        ),
    ],
)
def test_reorg_of_the_fact_sheet(shape, expected):
    x = np.arange(np.prod(shape)).reshape(1, *shape)
    run = Run(reorg(2), [x])
    assert run.top[0].shape == (1, 16, shape[1] // 2, shape[2] // 2)
    assert run.data[0].ravel().tolist() == expected


def darknet(x, s):
    """Value by value, as darknet's loops have it."""
    n, c, h, w = x.shape
    seen = x.reshape(n, c // s**2, h * s, w * s)
    y = np.zeros((n, c, h, w))
    for k, j, i in itertools.product(range(c), range(h), range(w)):
        part, channel = divmod(k, c // s**2)
        y[:, k, j, i] = seen[:, channel, j * s + part // s, i * s + part % s]
    return y.reshape(n, c * s**2, h // s, w // s)


def depth_to_space(x, s):
    n, c, h, w = x.shape
    y = np.zeros((n, c // s**2, h * s, w * s))
    for k, j, i in itertools.product(range(c), range(h), range(w)):
        part, channel = divmod(k, c // s**2)
        y[:, channel, j * s + part // s, i * s + part % s] = x[:, k, j, i]
    return y


@pytest.mark.parametrize("stride, shape", [(1, (2, 3, 2, 3)), (2, (2, 8, 4, 6)), (3, (1, 9, 3, 6))])
def test_reorg(stride, shape):
    check_layer(reorg(stride), [RNG.randn(*shape)], lambda x: darknet(x, stride))
    check_layer(reorg(stride, True), [RNG.randn(*shape)], lambda x: depth_to_space(x, stride))


def test_reorg_takes_shapes_that_change_and_none_that_do_not_fit():
    run = Run(reorg(2), [RNG.randn(1, 4, 2, 2)])
    for shape in ((3, 8, 6, 2), (0, 4, 4, 4)):
        x = RNG.randn(*shape)
        run.bottom[0].reshape(*shape)
        run.bottom[0].data[...] = x
        run.forward()
        assert_close(run.data[0], darknet(x, 2) if x.size else np.zeros((0, 16, 2, 2)))
    refused("stride must be given and positive", 'type: "Reorg"', [RNG.randn(1, 4, 2, 2)])
    refused(
        r"divided by 4, and height and width by 2; found \(1, 6, 2, 2\)", reorg(2), [np.zeros((1, 6, 2, 2))]
    )
    refused("height and width by 2", reorg(2), [np.zeros((1, 4, 2, 3))])
    refused(r"channels that can be divided by 4; found", reorg(2, True), [np.zeros((1, 6, 2, 3))])
    refused("divided by 18446744065119617025", reorg(2**32 - 1), [np.zeros((1, 4, 2, 2))])
    refused("4 axes", reorg(2), [np.zeros((4, 2, 2))])
    refused("does not work in place", reorg(1), [np.zeros((1, 4, 2, 2))], in_place=True)


# ---- detections


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def suppressed(found, threshold):
    """Of (score, label, (x, y, w, h)) those that stay, as rows."""
    found.sort(key=lambda one: -one[0])
    kept = []
    for score, label, box in found:
        for _, _, other in kept:
            sides = [
                min(box[i] + box[i + 2] / 2, other[i] + other[i + 2] / 2)
                - max(box[i] - box[i + 2] / 2, other[i] - other[i + 2] / 2)
                for i in (0, 1)
            ]
            shared = sides[0] * sides[1] if min(sides) >= 0 else 0
            if shared / (box[2] * box[3] + other[2] * other[3] - shared) >= threshold:
                break
        else:
            kept.append((score, label, box))
    return [
        [0, label, score, x - w / 2, y - h / 2, x + w / 2, y + h / 2] for score, label, (x, y, w, h) in kept
    ]


V3 = 'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ num_classes: {} {} }}'
BIASES = (10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319)
V3_REST = " ".join(f"biases: {b}" for b in BIASES) + " ".join(f" mask: {m}" for m in (3, 4, 5, 0, 1, 2))
V3_REST += " anchors_scale: 32 anchors_scale: 16"


def yolov3(maps, classes, confidence, threshold, gaussian=False):
    found = []
    for x, scale, mask in zip(maps, (32, 16), ((3, 4, 5), (0, 1, 2))):
        images, _, height, width = x.shape
        x = x.reshape(images, 3, -1, height, width)
        for b, j, i, n in itertools.product(range(images), range(height), range(width), range(3)):
            v = x[b, n, :, j, i]
            objectness, places, first = sigmoid(v[4]), v[:4], 5
            if gaussian:
                places, first = v[0:8:2], 9
                objectness = sigmoid(v[8]) * (4 - sigmoid(v[1:8:2]).sum()) / 4
            box = [(i + sigmoid(places[0])) / width, (j + sigmoid(places[1])) / height]
            box += [np.exp(places[2]) * BIASES[2 * mask[n]] / (width * scale)]
            box += [np.exp(places[3]) * BIASES[2 * mask[n] + 1] / (height * scale)]
            for label in range(classes):
                score = objectness * sigmoid(v[first + label])
                if score > confidence:
                    found.append((score, label + 1, box))
    return np.array(suppressed(found, threshold)).reshape(-1, 7)


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("classes, confidence, threshold", [(1, 0.01, 0.45), (4, 0.3, 0.2), (3, 0.4, 0.9)])
def test_yolov3(gaussian, classes, confidence, threshold):
    """Two maps of two images, not square: one suppression over all of them."""
    channels = 3 * ((9 if gaussian else 5) + classes)
    maps = [RNG.randn(2, channels, 2, 3), RNG.randn(2, channels, 4, 6)]
    rest = f"{V3_REST} confidence_threshold: {confidence} nms_threshold: {threshold} "
    run = Run(V3.format(classes, rest + f"gaussian_box: {gaussian}".lower()), maps)
    expected = yolov3(maps, classes, confidence, threshold, gaussian)
    assert 0 < len(expected) and run.data[0].shape == (1, 1, len(expected), 7)
    assert_close(run.data[0][0, 0], expected)
    for blob in run.bottom:
        blob.diff[...] = 3
    assert not any(diff.any() for diff in run.backward([np.ones(run.top[0].shape)]))


def test_yolov3_finds_nothing():
    maps = [np.full((3, 18, 2, 2), -200.0), np.full((3, 18, 4, 4), np.nan)]
    run = Run(V3.format(1, V3_REST), maps)
    assert_close(run.data[0][0, 0], [[i] + [-1] * 6 for i in range(3)])
    run.bottom[0].data[:, 4::6] = run.bottom[0].data[:, 5::6] = 20  # sure boxes, of no size
    run.forward()
    assert_close(run.data[0][0, 0, :, 2], np.ones(36))
    run.bottom[0].data[:, 2::6] = np.inf  # or without end
    run.forward()
    assert run.data[0].shape[3] == 7


V2 = 'type: "YoloDetectionOutput" yolo_detection_output_param {{ num_classes: {} num_box: 2 {} }}'
V2_REST = "biases: 1.1 biases: 1.2 biases: 3.4 biases: 4.4"


def yolov2(maps, classes, confidence, threshold):
    found = []
    for x in maps:
        images, _, side, _ = x.shape
        x = x.reshape(images, 2, -1, side, side)
        for b, j, i, n in itertools.product(range(images), range(side), range(side), range(2)):
            v = x[b, n, :, j, i]
            shares = np.exp(v[5:]) / np.exp(v[5:]).sum()
            score = sigmoid(v[4]) * shares.max()
            if score >= confidence:
                anchor = ((1.1, 1.2), (3.4, 4.4))[n]
                box = [(i + sigmoid(v[0])) / side, (j + sigmoid(v[1])) / side]
                box += [np.exp(v[2]) * anchor[0] / side, np.exp(v[3]) * anchor[1] / side]
                found.append((score, shares.argmax() + 1, box))
    return np.array(suppressed(found, threshold)).reshape(-1, 7)


@pytest.mark.parametrize("sides", [(3,), (3, 5)])
@pytest.mark.parametrize("classes, confidence, threshold", [(4, 0.01, 0.45), (1, 0.5, 0.1)])
def test_yolov2(sides, classes, confidence, threshold):
    maps = [RNG.randn(2, 2 * (5 + classes), side, side) for side in sides]
    rest = f"{V2_REST} side: 13 confidence_threshold: {confidence} nms_threshold: {threshold}"
    run = Run(V2.format(classes, rest), maps)
    expected = yolov2(maps, classes, confidence, threshold)
    assert len(expected)
    assert_close(run.data[0][0, 0], expected)


def test_the_threshold_of_yolov2_itself_counts():
    """And of a class alone the share is 1."""
    x = np.zeros((1, 12, 1, 1))
    rest = V2_REST + " nms_threshold: 1.1 confidence_threshold: "
    assert (Run(V2.format(1, rest + "0.5"), [x]).data[0][0, 0, :, 2] == 0.5).all()
    assert_close(Run(V2.format(1, rest + "0.51"), [x]).data[0][0, 0], [[0] + [-1] * 6])


@pytest.mark.parametrize(
    "text, says",
    [
        ('type: "Yolov3DetectionOutput"', "num_classes must be given"),
        (V3.format(0, V3_REST), "num_classes must be given, and it and num_box positive"),
        (V3.format(1, "num_box: 0 " + V3_REST), "num_box positive"),
        (V3.format(1, "mask_group_num: 3 " + V3_REST), "mask_group_num is 3, and there are 2 bottoms"),
        (V3.format(1, "mask_group_num: 0 " + V3_REST), "mask_group_num is 0"),
        (V3.format(1, V3_REST[: -len("anchors_scale: 16")]), "anchors_scale for each of 2 .*found .32."),
        (V3.format(1, V3_REST.replace("scale: 16", "scale: 0")), "positive anchors_scale"),
        (V3.format(1, V3_REST.replace("mask: 5", "")), "2 maps of 3 boxes need 6 mask, found 5"),
        (V3.format(1, V3_REST.replace("mask: 5", "mask: 6")), "mask 6 needs 14 biases, found 12"),
        (V3.format(1, V3_REST.replace("mask: 5", "mask: 4294967295")), "mask 4294967295 needs"),
        (V3.format(1, V3_REST + " biases: nan"), "biases must be finite"),
        (V3.format(1, V3_REST + " nms_threshold: nan"), "must be numbers"),
        (V3.format(1, V3_REST + " confidence_threshold: nan"), "must be numbers"),
        (V3.format(2, V3_REST), r"2 classes need maps \(N, 21, H, W\), found \(1, 18, 2, 2\)"),
        (V3.format(4294967295, V3_REST), "need maps"),
        (V2.format(4, ""), "2 boxes need 4 biases, found 0"),
        (V2.format(4, V2_REST + " coords: 5"), "coords must be 4, found 5"),
        (V2.format(4, V2_REST), r"the maps must be square, found \(1, 18, 4, 5\)"),
    ],
)
def test_what_is_refused(text, says):
    refused(says, text, [np.zeros((1, 18, 2, 2)), np.zeros((1, 18, 4, 5))])


@pytest.mark.parametrize("confidence", [0.01, 0.99])
def test_what_a_forward_takes_is_stated(confidence):
    maps = [RNG.randn(2, 3 * 25, 13, 13), RNG.randn(2, 3 * 25, 26, 26)]
    run = Run(V3.format(20, f"{V3_REST} confidence_threshold: {confidence}"), maps)
    stated = run.layer.workspace(run.bottom, run.top) + run.layer.kept(run.bottom, run.top)
    tracemalloc.start()
    try:
        run.forward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * stated
