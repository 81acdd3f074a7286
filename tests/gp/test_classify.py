"""Nearest-neighbour perturbations against finite differences, eq. (5) and the steps by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from caffe_gp.errors import DataError, NetError, ZeroGradientError
from caffe_gp.gp import NeighbourPerturbation, encodings
from caffe_gp.gp.classify import class_signal, find_features
from conformance import gp_nets as nets

pytestmark = pytest.mark.engine

SHAPE = (6, 2, 9, 9)
CLASSES = 5


def inner_product(name, bottom, out, top=None):
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top or name}" '
        f"inner_product_param {{ num_output: {out} }} }}\n"
    )


def layer(name, kind, bottom, top=None):
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top or name}" }}\n'


SMOOTH = (
    nets.input_layer(SHAPE)
    + nets.conv("conv1", "data", 4, 3)
    + nets.in_place("act1", "TanH", "conv1")
    + nets.pool("pool1", "conv1", "AVE")
    + inner_product("ip1", "pool1", 8)
    + nets.in_place("act2", "Sigmoid", "ip1")
    + inner_product("ip2", "ip1", CLASSES)
    + layer("prob", "Softmax", "ip2")
)


@pytest.fixture()
def loaded(tmp_path):
    return nets.load(tmp_path, SMOOTH)


@pytest.fixture()
def images():
    return np.random.RandomState(3).standard_normal(SHAPE).astype(np.float32)


LABELS = np.array([0, 1, 2, 3, 4, 2])


def log_probability(loaded, images, classes):
    """log p(class) of each image, in float64 from the scores of an ordinary forward pass."""
    loaded.net.blobs["data"].reshape(*images.shape)
    loaded.net.blobs["data"].data[...] = images
    loaded.net.forward()
    z = loaded.net.blobs["ip2"].data.astype(np.float64)
    return z[np.arange(len(z)), classes] - np.log(np.exp(z - z.max(1)[:, None]).sum(1)) - z.max(1)


# ---- the direction


def test_directions_agree_with_finite_differences(loaded, images):
    signs = NeighbourPerturbation(loaded).directions(images, LABELS)
    assert signs.dtype == np.int8 and signs.shape == SHAPE
    step, random, compared = 2e-2, np.random.RandomState(0), 0
    for place in random.permutation(np.prod(SHAPE[1:]))[:40]:
        moved = [images.reshape(len(images), -1).copy() for _ in range(2)]
        moved[0][:, place] += step
        moved[1][:, place] -= step
        up, down = (log_probability(loaded, one.reshape(SHAPE), LABELS) for one in moved)
        slope = (up - down) / (2 * step)
        clear = np.abs(slope) > 2e-3  # float32 scores, and the third derivative
        np.testing.assert_array_equal(
            signs.reshape(len(images), -1)[clear, place], np.sign(slope[clear]).astype(np.int8)
        )
        compared += clear.sum()
    assert compared > 100


@pytest.mark.parametrize("blob", ["data", "conv1", "pool1"])
def test_the_direction_is_that_of_equation_5(loaded, images, blob):
    """Written out with the encodings of segmentation, where nothing saturates."""
    method = NeighbourPerturbation(loaded, blob=blob)
    signs = method.directions(images, LABELS)
    y = loaded.net.blobs["prob"].data.astype(np.float64)
    signal = encodings.error_signal(y, np.eye(CLASSES)[LABELS])
    loaded.net.blobs["ip2"].diff[...] = signal
    method.restart.backward()
    diff = loaded.net.blobs[blob].diff
    clear = np.abs(diff) > 1e-5 * np.abs(diff).max()
    np.testing.assert_array_equal(signs[clear], np.sign(diff[clear]).astype(np.int8))
    assert clear.mean() > 0.9


def test_images_of_a_batch_do_not_influence_each_other(loaded, images):
    method = NeighbourPerturbation(loaded)
    together = method.directions(images, LABELS)
    for i in range(len(images)):
        alone = method.directions(images[i : i + 1], LABELS[i : i + 1])
        assert (alone[0] != together[i]).mean() < 0.01


def test_a_step_up_raises_the_class_and_a_step_down_lowers_it(loaded, images):
    method = NeighbourPerturbation(loaded)
    method.look(images)
    base = log_probability(loaded, images, LABELS)
    signs = method.toward(LABELS)
    for eps in (1e-3, -1e-3):
        method.after(signs, eps)
        z = loaded.net.blobs["ip2"].data.astype(np.float64)
        now = z[np.arange(len(z)), LABELS] - np.log(np.exp(z).sum(axis=1))
        assert (np.sign(now - base) == np.sign(eps)).all()


@pytest.mark.parametrize("gap", [0.5, 5.0, 20.0, 100.0, 900.0])
def test_the_signal_of_a_saturated_softmax(gap):
    """y_k (l - y) in exact arithmetic, up to a positive factor: float32 has no digits left for 1 - y_k."""
    z = np.array([[gap, 0.0, -1.0, 0.25]], np.float32)
    exponentials = [Fraction(float(np.exp(np.float64(v) - 0.25))) for v in z[0, 1:]]
    expected = np.array([float(sum(exponentials)), *(-float(e) for e in exponentials)])
    found = class_signal(z, np.array([0]))
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_the_signal_towards_a_class_of_no_probability():
    signal = class_signal(np.array([[0.0, 2000.0, 1999.0]], np.float32), np.array([0]))
    np.testing.assert_allclose(signal[0], [1 + np.exp(-1), -1, -np.exp(-1)], rtol=1e-6)


def test_the_signal_has_figure_9_s_proportions():
    y = np.array([[0.2, 0.6, 0.07, 0.1, 0.03], [0.35, 0.1, 0.45, 0.06, 0.04]])
    paper = np.array([[-0.12, 0.24, -0.042, -0.06, -0.018], [-0.1575, -0.045, 0.2475, -0.027, -0.018]])
    found = class_signal(np.log(y), np.array([1, 2]))
    largest = paper.max(axis=1, keepdims=True)
    np.testing.assert_allclose(found / found.max(axis=1, keepdims=True), paper / largest, rtol=1e-6)


# ---- the step


def test_the_formula_by_hand(loaded, images):
    """X + eps * sum_i w_i sign(grad_i) with w_i = 1/3, and a second forward pass of plain pycaffe."""
    method = NeighbourPerturbation(loaded)
    neighbours = np.random.RandomState(8).standard_normal((3, *SHAPE)).astype(np.float32)
    directions = np.stack([method.directions(one, np.roll(LABELS, i)) for i, one in enumerate(neighbours)])
    base, features = method.look(images)
    labels = method.after(directions.sum(axis=0), 0.9 / 3)
    moved = images + np.float32(0.9 / 3) * directions.sum(axis=0).astype(np.float32)
    np.testing.assert_array_equal(loaded.net.blobs["data"].data, moved)

    plain = nets.plain_net(loaded.prototxt.rsplit("/", 1)[0], SMOOTH)
    for start, found in ((images, base), (moved, labels)):
        plain.blobs["data"].data[...] = start
        plain.forward()
        np.testing.assert_array_equal(found, plain.blobs["prob"].data.argmax(axis=1))
    assert (base != labels).any()
    plain.blobs["data"].data[...] = images
    plain.forward()
    np.testing.assert_allclose(features["ip1"], plain.blobs["ip1"].data, atol=1e-6)


def test_an_inner_blob_is_moved_after_its_in_place_layers(loaded, images):
    method = NeighbourPerturbation(loaded, blob="conv1")
    method.look(images)
    start = loaded.net.blobs["conv1"].data.copy()
    signs = method.toward(LABELS)
    method.after(signs, 0.1)
    np.testing.assert_array_equal(loaded.net.blobs["conv1"].data, start + np.float32(0.1) * signs)
    method.after(signs, -0.2)  # from the same start
    np.testing.assert_array_equal(loaded.net.blobs["conv1"].data, start + np.float32(-0.2) * signs)


@pytest.mark.parametrize("blob", ["data", "pool1"])
def test_a_direction_after_a_step_is_taken_at_the_image(loaded, images, blob):
    method = NeighbourPerturbation(loaded, blob=blob)
    method.look(images)
    first = method.toward(LABELS)
    method.after(first, 5.0)
    np.testing.assert_array_equal(method.toward(LABELS), first)


def test_other_batch_sizes(loaded, images):
    method = NeighbourPerturbation(loaded)
    whole, features = method.look(images)
    for size in (1, 4, 6, 2):
        labels, found = method.look(images[:size])
        np.testing.assert_array_equal(labels, whole[:size])
        np.testing.assert_allclose(found["ip1"], features["ip1"][:size], atol=1e-6)
        assert method.toward(LABELS[:size]).shape == (size, *SHAPE[1:])


# ---- the feature blob


NESTED = nets.input_layer(SHAPE) + nets.conv("conv1", "data", 4, 3) + nets.in_place("relu1", "ReLU", "conv1")


@pytest.mark.parametrize(
    "text, features",
    [
        (SMOOTH, "ip1"),
        # SqueezeNet's end: the scores are pooled from the last convolution, whose ReLU is in place.
        (NESTED + nets.conv("conv2", "conv1", CLASSES, 1) + nets.in_place("relu2", "ReLU", "conv2")
         + 'layer { name: "score" type: "Pooling" bottom: "conv2" top: "score" '
         "pooling_param { pool: AVE global_pooling: true } }\n", "conv1"),
        # The features have a second reader, so a Split copies them.
        (NESTED + inner_product("a", "conv1", CLASSES) + inner_product("b", "conv1", CLASSES)
         + nets.add("score", "a", "b"), "conv1"),
        # An activation that is not in place; weights in place on the scores themselves.
        (nets.input_layer(SHAPE) + inner_product("ip1", "data", 7) + layer("relu1", "ReLU", "ip1")
         + inner_product("score", "relu1", CLASSES) + layer("scaled", "Scale", "score", "score"), "relu1"),
        (nets.input_layer(SHAPE) + inner_product("score", "data", CLASSES), "data"),
    ],
    ids=["two layers", "pooled scores", "split", "not in place", "no hidden layer"],
)  # fmt: skip
def test_the_features_that_scores_are_made_from(tmp_path, text, features):
    loaded = nets.load(tmp_path, text)
    method = NeighbourPerturbation(loaded)
    assert method.features == [features]
    _, found = method.look(np.zeros((3, *SHAPE[1:]), np.float32))
    assert found[features].shape == (3, loaded.net.blobs[features].data[0].size)


def test_scores_without_weights_below(tmp_path):
    loaded = nets.load(tmp_path, SMOOTH)
    with pytest.raises(NetError, match="--features"):
        find_features(loaded.net, "data")


# ---- errors


def test_what_is_no_class(loaded, images):
    method = NeighbourPerturbation(loaded)
    method.look(images)
    for classes, message in (
        (np.array([0, 1, 2, 3, 4, 5]), r"class 5: the net has 5 classes \(0..4\)"),
        (np.array([0, 1, 2, 3, 4, -1]), "class -1"),
        (LABELS[:3], "one integer class for each of 6 images"),
        (LABELS.astype(np.float32), "float32"),
    ):
        with pytest.raises(DataError, match=message):
            method.toward(classes)


def test_segmentation_nets_are_refused(tmp_path):
    loaded = nets.load(tmp_path, nets.input_layer((1, 3, 64, 64)) + nets.fcn("32s"))
    with pytest.raises(NetError, match="label whole images"):
        NeighbourPerturbation(loaded)


def test_an_unknown_feature_blob(loaded):
    with pytest.raises(NetError, match="no blob 'fc7'"):
        NeighbourPerturbation(loaded, features=["fc7"])


def test_an_image_without_gradient_is_left_alone(tmp_path):
    """All of its ReLUs are dead; the others' are not."""
    text = nets.input_layer(SHAPE) + inner_product("ip1", "data", 8) + nets.in_place("relu1", "ReLU", "ip1")
    loaded = nets.load(tmp_path, text + inner_product("ip2", "ip1", CLASSES))
    loaded.net.params["ip1"][0].data[...] = np.abs(loaded.net.params["ip1"][0].data)
    loaded.net.params["ip1"][1].data[...] = 0
    method = NeighbourPerturbation(loaded)
    dark, bright = (np.full((1, *SHAPE[1:]), value, np.float32) for value in (-1, 1))
    with pytest.raises(ZeroGradientError):
        method.directions(dark, LABELS[:1])
    assert method.directions(bright, LABELS[:1]).any()
    assert not method.directions(dark, LABELS[:1]).any()


def test_no_gradient_names_the_cause(tmp_path, images):
    loaded = nets.load(tmp_path, SMOOTH, weights=False)
    for blobs in loaded.net.params.values():
        for blob in blobs:
            blob.data[...] = 0
    method = NeighbourPerturbation(loaded)
    with pytest.raises(ZeroGradientError, match="all weights are zero"):
        method.directions(images, LABELS)


def test_steps_that_numpy_would_broadcast(loaded, images):
    method = NeighbourPerturbation(loaded)
    method.look(images)
    for steps in (np.ones(images.shape[1:], np.float32), np.ones((1, 1, 1, 1), np.int8), 1):
        with pytest.raises(DataError, match="steps of blob 'data': expected"):
            method.after(steps, 0.1)
    for eps in (np.nan, "1", [0.1], None):
        with pytest.raises(DataError, match="eps must be a finite number"):
            method.after(np.zeros(images.shape, np.int8), eps)
