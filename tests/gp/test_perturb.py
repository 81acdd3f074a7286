"""The method on small nets of FCN's shape: against finite differences, by hand, and against misuse."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

from caffe_gp.errors import CaffeGPError, DataError, NetError, ZeroGradientError
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.gp.passes import TruncatedPass, view_layers
from caffe_gp.gp.perturbed_net import find_score
from caffe_gp.gp.pycaffe import clear_diff
from conformance import gp_nets as nets

pytestmark = pytest.mark.engine

SHAPE = (1, 3, 40, 52)
SOFT = {"activation": "TanH", "pooling": "AVE"}  # smooth: differences of any size mean something
LOSS = 'layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }\n'


def images(shape=SHAPE, seed=3):
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def fcn_net(tmp_path, head="8s", **kind):
    return nets.load(tmp_path, nets.input_layer(SHAPE) + nets.fcn(head, **kind))


def cut_below(text, blob, blobs):
    """The layers after ``blob`` as a net of their own; what they need from before becomes inputs."""
    lines = text.splitlines(keepends=True)
    after = "".join(lines[next(i for i, line in enumerate(lines) if f'top: "{blob}"' in line) + 1 :])
    made = set(re.findall(r'top: "(\w+)"', after))
    needed = [name for name in dict.fromkeys(re.findall(r'bottom: "(\w+)"', after)) if name not in made]
    inputs = [nets.input_layer(blobs[name].data.shape, f"input_{name}", name) for name in needed]
    return "".join(inputs) + after


def confidence_in(labels, scores):
    """Sum over pixels of the probability of ``labels``, in float64."""
    return np.take_along_axis(nets.softmax64(scores), labels[:, np.newaxis].astype(np.int64), axis=1).sum()


@pytest.mark.parametrize("blob", ["data", "pool3", "pool4"])
@pytest.mark.parametrize("head", ["32s", "8s"])
def test_diff_agrees_with_finite_differences(tmp_path, head, blob):
    """pool3 and pool4 of the 8s net are split: both readers' gradients must be in the diff."""
    loaded = fcn_net(tmp_path, head, **SOFT)
    result = GuidedPerturbation(loaded, blob=blob)(images(), 0.0)
    diff = loaded.net.blobs[blob].diff.astype(np.float64)
    text = nets.fcn(head, **SOFT)
    if blob == "data":
        apart = nets.plain_net(tmp_path, nets.input_layer(SHAPE) + text)
    else:
        apart = nets.plain_net(tmp_path, cut_below(text, blob, loaded.net.blobs))
    for name, blobs in apart.params.items():
        for mine, original in zip(blobs, loaded.net.params[name]):
            mine.data[...] = original.data
    start = loaded.net.blobs[blob].data.copy()

    def value(x):
        for name in apart.inputs:
            apart.blobs[name].data[...] = x if name == blob else loaded.net.blobs[name].data
        apart.forward()
        return confidence_in(result.base_labels, apart.blobs["score"].data)

    random = np.random.RandomState(0)
    for _ in range(3):
        # Mostly along the gradient, so that the slope is far above float32's noise.
        direction = np.sign(diff) * (random.uniform(size=diff.shape) < 0.7)
        h = 1e-2 / max(1.0, np.abs(diff * direction).sum())
        h = max(h, 2e-3)
        slope = (value(start + h * direction) - value(start - h * direction)) / (2 * h)
        assert slope == pytest.approx((diff * direction).sum(), rel=2e-2)


@pytest.mark.parametrize("blob", ["data", "pool3", "pool4", "fc7", "conv3_1"])
@pytest.mark.parametrize("head", ["32s", "16s", "8s"])
def test_a_small_step_up_raises_the_confidence_and_a_step_down_lowers_it(tmp_path, head, blob):
    loaded = fcn_net(tmp_path, head)
    result = GuidedPerturbation(loaded, blob=blob)(images(), [1e-3, -1e-3], keep_probabilities=True)

    def summed(probabilities):
        labels = result.base_labels[:, np.newaxis].astype(np.int64)
        return np.take_along_axis(probabilities.astype(np.float64), labels, axis=1).sum()

    up, down = (summed(probabilities) for probabilities in result.probabilities)
    assert down < summed(result.base_probabilities) < up


def test_the_paper_s_three_steps_by_hand(tmp_path):
    """What a user of pycaffe would write with force_backward gives the same probabilities."""
    text = nets.input_layer(SHAPE) + nets.fcn("8s") + LOSS
    net = nets.plain_net(tmp_path, "force_backward: true\n" + text)
    net.blobs["data"].data[...] = images()
    net.forward()
    y = net.blobs["prob"].data.copy()
    onehot = (y.argmax(axis=1)[:, np.newaxis] == np.arange(y.shape[1]).reshape(1, -1, 1, 1)).astype(
        np.float32
    )
    net.blobs["prob"].diff[...] = onehot
    net.backward()
    moved = images() + np.float32(0.05) * np.sign(net.blobs["data"].diff)
    net.blobs["data"].data[...] = moved
    net.forward()
    by_hand = net.blobs["prob"].data.copy()

    result = GuidedPerturbation(fcn_net(tmp_path))(images(), 0.05, keep_probabilities=True)
    np.testing.assert_allclose(result.base_probabilities, y, atol=1e-6)
    # A diff whose sign is rounding noise may flip; hence not to the last digit.
    np.testing.assert_allclose(result.probabilities, by_hand, atol=1e-3)
    assert (result.labels == by_hand.argmax(axis=1)).mean() > 0.999


def test_injection_at_the_softmax_output_is_caffe_s_own_backward(tmp_path):
    """The formula at the score against ``net.backward(prob=l)`` through the layer."""
    loaded = fcn_net(tmp_path)
    net = nets.plain_net(tmp_path, "force_backward: true\n" + nets.input_layer(SHAPE) + nets.fcn("8s") + LOSS)
    for encoding in ("soft", "top2", "onehot"):
        GuidedPerturbation(loaded, encoding=encoding, inject="softmax-output")(images(), 0.0)
        net.forward(data=images())
        y = net.blobs["prob"].data.copy()
        rank = np.argsort(np.argsort(-y, axis=1, kind="stable"), axis=1, kind="stable")
        label = {"soft": y, "top2": (rank < 2) / 2, "onehot": rank < 1}[encoding].astype(np.float32)
        expected = net.backward(prob=label)["data"].copy()
        np.testing.assert_allclose(
            loaded.net.blobs["data"].diff, expected, rtol=1e-3, atol=1e-6 * np.abs(expected).max()
        )
        # Seeding the diff directly is the same as naming it in the call.
        net.blobs["prob"].diff[...] = label
        net.backward()
        np.testing.assert_array_equal(net.blobs["data"].diff, expected)


def test_a_list_of_eps_costs_one_backward_and_equals_single_calls(tmp_path):
    loaded = fcn_net(tmp_path)
    gp = GuidedPerturbation(loaded, blob="pool3")
    values = [0.2, -0.1, 0.0, 1.0]
    together = gp(images(), values, keep_probabilities=True)
    assert together.passes == {"forward": 1, "backward": 1, "forward_perturbed": 4}
    assert set(together.seconds) == set(together.passes)
    for eps, labels, y in zip(values, together.labels, together.probabilities):
        alone = gp(images(), eps, keep_probabilities=True)
        assert alone.passes == {"forward": 1, "backward": 1, "forward_perturbed": 1}
        np.testing.assert_array_equal(alone.labels, labels)
        np.testing.assert_array_equal(alone.probabilities, y)
    np.testing.assert_array_equal(together.probabilities[2], together.base_probabilities)


@pytest.mark.parametrize("blob, iterations", [("data", 1), ("pool3", 1), ("pool3", 2)])
def test_more_steps_from_what_a_result_kept(tmp_path, blob, iterations):
    """A pass each, whatever images and sizes the net saw between."""
    loaded = fcn_net(tmp_path)
    gp = GuidedPerturbation(loaded, blob=blob, iterations=iterations)
    values = [0.3, -0.1]
    expected = gp(images(), values, keep_scores=True)
    kept = GuidedPerturbation(loaded, blob=blob)(images(), 0.0, keep_blob=True, keep_diff=True)
    steps = {"forward": 0, "backward": 2 * (iterations - 1), "forward_perturbed": 2 * iterations}
    again = gp.more(kept, images(), values, held=True, keep_scores=True)
    assert again.passes == steps
    gp(images((2, 3, 96, 64), seed=5), 0.5)
    later = gp.more(kept, images(), values, keep_scores=True)
    assert later.passes == {**steps, "forward": int(blob != "data")}
    for found in (again, later):
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.base_labels, expected.base_labels)
        np.testing.assert_array_equal(found.perturbation, expected.perturbation)
    assert gp.more(kept, images(), 0.3).labels.shape == kept.labels.shape
    with pytest.raises(DataError, match="keep_blob=True and keep_diff=True"):
        gp.more(expected, images(), 0.1)


def test_the_results_of_a_list_are_the_single_ones_stacked(tmp_path):
    gp = GuidedPerturbation(fcn_net(tmp_path))
    for method in (gp, GuidedPerturbation(gp.net, score=gp.score, iterations=2)):
        alone = method(images(), 0.2, keep_probabilities=True)
        together = method(images(), [0.2, -0.2], keep_probabilities=True)
        for name in ("labels", "confidence", "perturbation", "probabilities"):
            one, both = getattr(alone, name), getattr(together, name)
            assert both.shape == (2, *one.shape) and both.dtype == one.dtype, name
            np.testing.assert_array_equal(both[0], one)
        assert alone.labels.shape == alone.confidence.shape == SHAPE[:1] + SHAPE[2:]
        assert method(images(), [0.2]).labels.shape == (1, *alone.labels.shape)


def test_iterations_take_the_labels_anew_and_add_their_signs(tmp_path):
    loaded = fcn_net(tmp_path)
    done = []
    gp = GuidedPerturbation(loaded, iterations=3, on_progress=lambda *state: done.append(state))
    result = gp(images(), [0.05, -0.05])
    assert result.passes == {"forward": 1, "backward": 1 + 2 * 2, "forward_perturbed": 2 * 3}
    assert [state[:2] for state in done] == [(i, 12) for i in range(1, 13)]
    assert done[0][2] == "forward"
    # By hand: three single steps, each from where the last one ended.
    one = GuidedPerturbation(loaded)
    for k, eps in enumerate([0.05, -0.05]):
        x, total = images(), 0
        for _ in range(3):
            step = one(x, eps)
            total = total + step.perturbation
            x = images() + total.astype(np.float32) * np.float32(eps)
        np.testing.assert_array_equal(step.labels, result.labels[k])
        np.testing.assert_array_equal(total, result.perturbation[k])


def test_perturbation_is_the_sign_of_the_diff(tmp_path):
    loaded = fcn_net(tmp_path)
    result = GuidedPerturbation(loaded, blob="pool4")(images(), 0.1)
    assert result.perturbation.dtype == np.int8
    np.testing.assert_array_equal(result.perturbation, np.sign(loaded.net.blobs["pool4"].diff))


def test_images_of_a_batch_do_not_influence_each_other(tmp_path):
    loaded = fcn_net(tmp_path)
    batch = images((3,) + SHAPE[1:])
    for encoding in ("onehot", "random-onehot"):
        gp = GuidedPerturbation(loaded, encoding=encoding)
        together = gp(batch, 0.1, keep_probabilities=True)
        for i in range(3):
            alone = gp(batch[i : i + 1], 0.1, keep_probabilities=True)
            np.testing.assert_allclose(alone.base_probabilities[0], together.base_probabilities[i], atol=1e-6)
            np.testing.assert_allclose(alone.probabilities[0], together.probabilities[i], atol=2e-3)
            assert (alone.labels[0] == together.labels[i]).mean() > 0.999


def test_nothing_is_left_over_from_earlier_images_and_sizes(tmp_path):
    """Sizes change, then the first image again: the same numbers. Splits run again after a reshape."""
    loaded = fcn_net(tmp_path)
    for blob in ("data", "pool3"):
        gp = GuidedPerturbation(loaded, blob=blob)
        first = gp(images(), 0.1, keep_probabilities=True)
        for shape in ((2, 3, 40, 52), (1, 3, 33, 61)):
            other = gp(images(shape, seed=9), 0.1)
            assert other.labels.shape == (shape[0],) + shape[2:]
        again = gp(images(), 0.1, keep_probabilities=True)
        # To rounding: vectorised kernels treat differently aligned memory in another order.
        np.testing.assert_allclose(again.probabilities, first.probabilities, rtol=0, atol=1e-6)
        assert (again.labels == first.labels).mean() > 0.999


@pytest.mark.parametrize("head", ["32s", "8s"])
@pytest.mark.parametrize("blob", ["data", "pool3"])
def test_stale_diffs_do_not_leak_in(tmp_path, head, blob):
    loaded = fcn_net(tmp_path, head)
    gp = GuidedPerturbation(loaded, blob=blob)
    clean = gp(images(), 0.1).perturbation
    for other in loaded.net.blobs.values():
        clear_diff(other)  # those that the embedded Caffe did not keep may not be read
        other.diff[...] = 1e3
    np.testing.assert_array_equal(gp(images(), 0.1).perturbation, clean)


def test_backward_changes_no_data(tmp_path):
    loaded = fcn_net(tmp_path)
    loaded.net.blobs["data"].data[...] = images()
    loaded.net.forward()
    before = {name: blob.data.copy() for name, blob in loaded.net.blobs.items()}
    weights = [blob.data.copy() for blobs in loaded.net.params.values() for blob in blobs]
    loaded.net.blobs["score"].diff[...] = 1
    TruncatedPass(loaded.net, "data", "score").backward()
    for name, blob in loaded.net.blobs.items():
        np.testing.assert_array_equal(blob.data, before[name], err_msg=name)
    for old, blob in zip(weights, (blob for blobs in loaded.net.params.values() for blob in blobs)):
        np.testing.assert_array_equal(blob.data, old)


def test_no_weight_gradient_is_computed(tmp_path):
    loaded = fcn_net(tmp_path)
    GuidedPerturbation(loaded)(images(), 0.1)
    assert not any(blob.diff.any() for blobs in loaded.net.params.values() for blob in blobs)


def test_results_are_copies(tmp_path):
    loaded = fcn_net(tmp_path)
    gp = GuidedPerturbation(loaded)
    result = gp(images(), 0.1, keep_probabilities=True)
    kept = {name: np.array(value) for name, value in vars(result).items() if isinstance(value, np.ndarray)}
    assert len(kept) == 7
    gp(images(seed=8), 0.3)
    for name, value in kept.items():
        np.testing.assert_array_equal(getattr(result, name), value, err_msg=name)
        for blob in loaded.net.blobs.values():
            assert not np.shares_memory(getattr(result, name), blob.data), name


def test_the_images_given_are_not_changed(tmp_path):
    given = images()
    GuidedPerturbation(fcn_net(tmp_path))(given, 0.1)
    np.testing.assert_array_equal(given, images())


# ---- truncated passes


def test_an_in_place_layer_is_not_run_again(tmp_path):
    """conv1_2 is rewritten by relu1_2: what is perturbed is the value after it, negative or not."""
    loaded = fcn_net(tmp_path)
    gp = GuidedPerturbation(loaded, blob="conv1_2")
    assert gp.restart.first_reader == "pool1"
    result = gp(images(), 0.3, keep_probabilities=True)
    net = loaded.net
    net.blobs["data"].data[...] = images()
    net.forward()
    net.blobs["conv1_2"].data[...] += np.float32(0.3) * result.perturbation
    assert (net.blobs["conv1_2"].data < 0).any()
    net.forward(start="pool1")
    np.testing.assert_allclose(result.probabilities, net.blobs["prob"].data, atol=1e-6)


def test_split_layers_belong_to_both_passes(tmp_path):
    loaded = fcn_net(tmp_path)
    assert GuidedPerturbation(loaded, blob="pool3").restart.first_reader == "pool3_pool3_0_split"
    assert GuidedPerturbation(loaded, blob="data").restart.first_reader == "data_probe_0_split"
    with pytest.raises(NetError, match="automatic copy; name the original, 'pool3'"):
        GuidedPerturbation(loaded, blob="pool3_pool3_0_split_1")


def test_layers_that_do_not_depend_on_the_blob_are_not_run_again(tmp_path):
    """The in-place Power on branch a runs between the layers of branch b; twice would square its effect."""
    text = (
        nets.input_layer((1, 3, 9, 9))
        + nets.conv("a", "data", 4, 1)
        + nets.conv("b", "data", 4, 1)
        + nets.conv("b2", "b", 4, 3, 1)
        + 'layer { name: "triple" type: "Power" bottom: "a" top: "a" power_param { scale: 3 } }\n'
        + nets.add("score", "a", "b2")
    )
    loaded = nets.load(tmp_path, text)
    result = GuidedPerturbation(loaded, blob="b")(
        images((1, 3, 9, 9)), [0.0, 1e-3, -1e-3], keep_probabilities=True
    )
    np.testing.assert_array_equal(result.probabilities[0], result.base_probabilities)
    confidences = [confidence.sum() for confidence in result.confidence]
    assert confidences[2] < confidences[0] < confidences[1]


def test_layers_of_one_name(tmp_path):
    """Old files call every Crop 'crop' and every Eltwise 'fuse'; a net made from one by hand works too."""
    own = GuidedPerturbation(fcn_net(tmp_path), blob="pool4")(images(), 0.1, keep_probabilities=True)
    text = nets.fcn("8s", names=["crop", "fuse"] * 2 + ["crop"])
    net = nets.plain_net(tmp_path, "force_backward: true\n" + nets.input_layer(SHAPE) + text)
    result = GuidedPerturbation(net, blob="pool4")(images(), 0.1, keep_probabilities=True)
    np.testing.assert_allclose(result.probabilities, own.probabilities, atol=1e-3)
    assert (result.labels == own.labels).mean() > 0.999


def test_a_net_made_by_hand_with_force_backward(tmp_path):
    net = nets.plain_net(tmp_path, "force_backward: true\n" + nets.input_layer(SHAPE) + nets.fcn("8s") + LOSS)
    own = fcn_net(tmp_path)
    for blob in ("data", "pool3"):
        by_hand = GuidedPerturbation(net, blob=blob)(images(), 0.1)
        prepared = GuidedPerturbation(own, blob=blob)(images(), 0.1)
        assert (by_hand.labels == prepared.labels).mean() > 0.999
        assert (by_hand.perturbation == prepared.perturbation).mean() > 0.99


def test_older_pycaffe_looks_the_end_layer_up_as_a_blob():
    """Before mid 2017 forward(end=) and backward(end=) raised KeyError after having run."""

    class OldNet:
        def __init__(self):
            self.ran = []
            self._layer_names, self._blob_names = ["input", "ip", "sm"], ["data", "z", "y"]
            self.layers = [type("L", (), {"type": kind})() for kind in ("Input", "InnerProduct", "Softmax")]
            self.blobs = {name: type("B", (), {"diff": np.zeros(1)})() for name in self._blob_names}

        def _bottom_ids(self, i):
            return [[], [0], [1]][i]

        def _top_ids(self, i):
            return [[0], [1], [2]][i]

        def _forward(self, start, end):
            raise AssertionError

        _backward = _forward

        def forward(self, start, end):
            self.ran.append(("forward", start, end))
            raise KeyError(end)

        def backward(self, start, end):
            self.ran.append(("backward", start, end))
            raise KeyError(end)

    net = OldNet()
    passes = TruncatedPass(net, "data", "z")
    passes.backward()
    passes.forward()
    assert net.ran == [("backward", "ip", "ip"), ("forward", "ip", "sm")]


# ---- kinds of nets


def test_classification_nets(tmp_path):
    text = (
        nets.input_layer((4, 1, 12, 12))
        + nets.conv("conv1", "data", 5, 3)
        + nets.in_place("relu1", "ReLU", "conv1")
        + 'layer { name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip" '
        "inner_product_param { num_output: 6 } }\n"
    )
    loaded = nets.load(tmp_path, text)
    x = images((2, 1, 12, 12))
    result = GuidedPerturbation(loaded)(x, [1e-3, -1e-3], keep_probabilities=True)
    assert result.base_labels.shape == result.labels[0].shape == (2,)
    assert result.perturbation[0].shape == x.shape
    up, down = result.confidence
    assert (down < result.base_confidence).all() and (result.base_confidence < up).all()
    truth = np.array([5, 255])
    result = GuidedPerturbation(loaded, encoding="ground-truth")(
        x, 0.01, labels=truth, keep_probabilities=True
    )
    assert result.probabilities[0, 5] > result.base_probabilities[0, 5]
    assert not result.perturbation[1].any() and result.perturbation[0].any()


def test_the_input_may_have_another_name(tmp_path):
    text = nets.input_layer((1, 3, 8, 8), top="picture") + nets.conv("score", "picture", 3, 3, 1)
    loaded = nets.load(tmp_path, text)
    assert GuidedPerturbation(loaded).blob == "picture"
    assert GuidedPerturbation(loaded.net, score="score").blob == "picture"


def test_the_score_of_a_net_made_by_hand(tmp_path):
    net = nets.plain_net(tmp_path, nets.input_layer(SHAPE) + nets.fcn("8s") + LOSS)
    assert find_score(net) == "score"
    two = nets.plain_net(
        tmp_path, nets.input_layer((1, 3, 8, 8)) + nets.conv("a", "data", 2, 1) + nets.conv("b", "data", 2, 1)
    )
    with pytest.raises(NetError, match="Candidates: a, b"):
        find_score(two)
    assert GuidedPerturbation(two, score="b").score == "b"
    attention = nets.plain_net(tmp_path, nets.input_layer((1, 3, 8, 8)) + nets.attention("score"))
    assert find_score(attention) == "score"


def test_a_softmax_over_another_axis_is_not_taken_for_the_probabilities(tmp_path):
    rows = 'layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" softmax_param { axis: 2 } }\n'
    text = "force_backward: true\n" + nets.input_layer(SHAPE) + nets.fcn("32s") + rows
    net = nets.plain_net(tmp_path, text)
    with pytest.raises(NetError, match="'prob' has the classes of 'score' on another axis"):
        GuidedPerturbation(net)(images(), 0.1)
    result = GuidedPerturbation(net, score="score")(images(), 0.1, keep_probabilities=True)
    expected = GuidedPerturbation(fcn_net(tmp_path, "32s"))(images(), 0.1, keep_probabilities=True)
    np.testing.assert_allclose(result.base_probabilities, expected.base_probabilities, atol=1e-6)
    assert (result.labels == expected.labels).mean() > 0.999


def test_every_encoding_runs_and_ground_truth_raises_the_right_class(tmp_path):
    loaded = fcn_net(tmp_path)
    truth = np.random.RandomState(0).randint(4, size=(1,) + SHAPE[2:])
    truth[:, :5] = 255
    seen = {}
    for encoding in ("onehot", "random-onehot", "uniform", "top2", "soft", "ground-truth"):
        gp = GuidedPerturbation(loaded, encoding=encoding)
        result = gp(images(), 1e-3, labels=truth, keep_probabilities=True)
        seen[encoding] = result.perturbation
        assert repr(encoding) in repr(gp)
    counted = truth != 255
    y0, y1 = (
        np.take_along_axis(y.astype(np.float64), np.where(counted, truth, 0)[:, np.newaxis], axis=1)[:, 0][
            counted
        ].sum()
        for y in (result.base_probabilities, result.probabilities)
    )
    assert y1 > y0
    for encoding in ("random-onehot", "uniform", "ground-truth"):
        assert (seen[encoding] != seen["onehot"]).any()


def test_uniform_labels_go_down_the_sum_of_squares(tmp_path):
    """Eq. (5) for uniform l is (1/C)(1/C - y): with eps < 0 large probabilities grow."""
    loaded = fcn_net(tmp_path)
    result = GuidedPerturbation(loaded, encoding="uniform")(images(), [2e-3, -2e-3], keep_probabilities=True)
    score = [np.log(y.astype(np.float64)) for y in (result.base_probabilities, *result.probabilities)]
    signal = (1 / 4) * (1 / 4 - result.base_probabilities.astype(np.float64))
    # Scores are known up to a constant a pixel, on which this signal (it sums to zero) does not act.
    assert ((score[1] - score[0]) * signal).sum() > 0 > ((score[2] - score[0]) * signal).sum()


def test_a_mask_keeps_the_rest_of_the_canvas_out(tmp_path):
    loaded = fcn_net(tmp_path)
    valid = np.zeros((1,) + SHAPE[2:], dtype=bool)
    valid[:, :20, :30] = True
    result = GuidedPerturbation(loaded)(images(), 0.1, valid=valid)
    assert not result.perturbation[0, :, 20:].any() and not result.perturbation[0, :, :, 30:].any()
    assert result.perturbation[0, :, :20, :30].any()
    inner = GuidedPerturbation(loaded, blob="pool3")(images(), 0.1, valid=valid)
    assert inner.perturbation.any()
    with pytest.raises(DataError, match="valid mask of shape"):
        GuidedPerturbation(loaded)(images(), 0.1, valid=valid[:, :5])


# ---- errors


def test_zero_gradient_names_the_missing_backward(tmp_path):
    net = nets.plain_net(tmp_path, nets.input_layer(SHAPE) + nets.fcn("8s") + LOSS)
    for blob in net.params.values():
        for k in range(len(blob)):
            assert blob[k].data.any()
    # A deploy net with weights that learn but no loss: Caffe backpropagates nothing, silently.
    with pytest.raises(ZeroGradientError, match="backpropagates nothing.*load_net"):
        GuidedPerturbation(net)(images(), 0.1)
    result = GuidedPerturbation(net, allow_zero_gradient=True)(images(), 0.1)
    np.testing.assert_array_equal(result.labels, result.base_labels)


def test_zero_gradient_names_missing_weights(tmp_path):
    loaded = nets.load(tmp_path, nets.input_layer(SHAPE) + nets.fcn("32s"), weights=False)
    for blobs in loaded.net.params.values():
        for blob in blobs:
            blob.data[...] = 0
    with pytest.raises(ZeroGradientError, match="all weights are zero"):
        GuidedPerturbation(loaded)(images(), 0.1)


def test_zero_gradient_names_an_empty_signal(tmp_path):
    loaded = fcn_net(tmp_path)
    nothing = np.full((1,) + SHAPE[2:], 255)
    with pytest.raises(ZeroGradientError, match="error signal.*ignored"):
        GuidedPerturbation(loaded, encoding="ground-truth")(images(), 0.1, labels=nothing)


def test_a_diff_that_nothing_reaches_is_not_an_old_one(tmp_path):
    net = nets.plain_net(tmp_path, nets.input_layer(SHAPE) + nets.fcn("8s") + LOSS)
    net.blobs["data"].diff[...] = 1
    with pytest.raises(ZeroGradientError):
        GuidedPerturbation(net)(images(), 0.1)


def test_scores_that_are_not_finite(tmp_path):
    loaded = fcn_net(tmp_path)
    bad = images()
    bad[0, 0, 5, 5] = np.nan
    with pytest.raises(DataError, match="NaN"):
        GuidedPerturbation(loaded)(bad, 0.1)
    loaded.net.params["score_fr"][1].data[0] = np.inf
    with pytest.raises(NetError, match="'score' are not finite"):
        GuidedPerturbation(loaded)(images(), 0.1)


def test_a_score_of_one_channel(tmp_path):
    loaded = nets.load(tmp_path, nets.input_layer((1, 3, 9, 9)) + nets.conv("score", "data", 1, 1))
    with pytest.raises(NetError, match="'score' has one channel"):
        GuidedPerturbation(loaded)


def test_debug_mode_notices_a_step_that_changes_nothing(tmp_path):
    loaded = fcn_net(tmp_path)
    GuidedPerturbation(loaded, debug=True)(images(), 0.1)
    with pytest.raises(NetError, match="no confidence.*changed"):
        GuidedPerturbation(loaded, debug=True)(images(), 1e-30)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"blob": "pool9"}, NetError, "no blob 'pool9'; its blobs are data, conv1_1"),
        ({"blob": "prob"}, NetError, "no layer leads from blob 'prob'"),
        ({"score": "nope"}, NetError, "no blob 'nope'"),
        ({"encoding": "other"}, CaffeGPError, "unknown encoding"),
        ({"blob": 3}, DataError, "blob must be the name of a blob, found 3"),
        ({"blob": ""}, DataError, "blob must be the name of a blob"),
        ({"score": b"score"}, DataError, "score must be the name of a blob"),
        ({"iterations": 0}, CaffeGPError, "at least 1"),
        ({"iterations": 1.5}, CaffeGPError, "whole number"),
        ({"seed": True}, CaffeGPError, "whole number"),
        ({"seed": -1}, CaffeGPError, "seed"),
    ],
)
def test_bad_settings(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        GuidedPerturbation(fcn_net(tmp_path), **options)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((images()[0], 0.1), DataError, "images of shape"),
        ((images()[:0], 0.1), DataError, "no values"),
        ((images()[:, :1], 0.1), DataError, "only the number of images and their size may differ"),
        ((images().transpose(0, 2, 3, 1), 0.1), DataError, "only the number of images and their size"),
        *(
            ((images().astype(kind), 0.1), DataError, "expected float32, preprocessed")
            for kind in (np.uint8, int, bool, complex, object, str)
        ),
        *(
            ((images(), eps), DataError, "eps must be a finite number")
            for eps in (
                [],
                np.inf,
                "0.5",
                None,
                True,
                1j,
                [[0.1]],
                [0.1, [0.2]],
                {0.1},
                np.array([0.1, np.nan]),
            )
        ),
        ((images(), 0.1, None, np.ones((1, 40, 52))), DataError, "mask of valid pixels: expected bool"),
        ((images(), 0.1, None, True), DataError, "expected a numpy array of bool, found bool"),
    ],
)
def test_bad_arguments(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        GuidedPerturbation(fcn_net(tmp_path))(*arguments)


def test_an_error_signal_that_numpy_would_broadcast(tmp_path):
    gp = GuidedPerturbation(fcn_net(tmp_path))
    shape = gp.net.blobs[gp.score].data.shape
    for signal in (np.ones(shape[1:], np.float32), np.ones((1, 1, 1, 1), np.float32), np.float32(1)):
        with pytest.raises(DataError, match="the error signal at 'score': expected the shape"):
            gp.set_signal(signal)
    with pytest.raises(DataError, match="expected floating-point numbers, found int64"):
        gp.set_signal(np.ones(shape, np.int64))


def test_a_net_without_input_layer_is_refused(tmp_path):
    net = nets.plain_net(
        tmp_path,
        'layer { name: "d" type: "DummyData" top: "data" '
        "dummy_data_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n" + nets.conv("score", "data", 2, 1),
    )
    with pytest.raises(NetError, match="engine.load_net"):
        GuidedPerturbation(net)


# ---- conventions


STOCK = {
    "forward",
    "backward",
    "_forward",
    "_backward",
    "blobs",
    "params",
    "inputs",
    "outputs",
    "layers",
    "_layer_names",
    "_blob_names",
    "_bottom_ids",
    "_top_ids",
    "reshape",
}


def test_the_drivers_use_stock_pycaffe_and_no_torch(project_root):
    for path in sorted((project_root / "caffe_gp" / "gp").glob("*.py")):
        text = path.read_text()
        used = set(
            re.findall(
                r"\bnet\.([A-Za-z_]\w*)", re.sub(r'(""".*?"""|#[^\n]*|f?"[^"\n]*")', "", text, flags=re.S)
            )
        )
        assert used <= STOCK, (path.name, used - STOCK)
        modules = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert "torch" not in modules and "caffe" not in modules


def test_layers_are_read_in_running_order(tmp_path):
    layers = view_layers(fcn_net(tmp_path, "32s").net)
    assert [layer.name for layer in layers[:4]] == ["input", "probe", "data_probe_0_split", "conv1_1"]
    assert layers[3].type == "Convolution" and layers[3].tops == ("conv1_1",)


def test_what_is_kept_when_asked_for(tmp_path):
    loaded = fcn_net(tmp_path)
    gp = GuidedPerturbation(loaded, blob="pool3")
    result = gp(images(), [0.1, -0.2], keep_scores=True, keep_blob=True, keep_diff=True)
    assert result.scores.shape == (2, *result.base_scores.shape)
    np.testing.assert_array_equal(result.scores[1].argmax(axis=1), result.labels[1])
    np.testing.assert_array_equal(np.sign(result.diff), result.perturbation[0])
    for eps, blob in zip(result.eps, result.blob):
        np.testing.assert_array_equal(blob, np.float32(eps) * result.perturbation[0] + result.base_blob)
    alone = gp(images(), 0.1, keep_blob=True)
    np.testing.assert_array_equal(alone.blob, result.blob[0])
    assert alone.scores is None and alone.diff is None


def test_switching_keeps_the_surer_label(tmp_path):
    result = GuidedPerturbation(fcn_net(tmp_path))(images(), [0.5, -0.5])
    for labels, confidence, switched in zip(result.labels, result.confidence, result.switched_labels):
        surer = confidence > result.base_confidence
        assert 0 < surer.mean() < 1
        np.testing.assert_array_equal(switched[surer], labels[surer])
        np.testing.assert_array_equal(switched[~surer], result.base_labels[~surer])
    single = GuidedPerturbation(fcn_net(tmp_path))(images(), 0.5)
    np.testing.assert_array_equal(single.switched_labels, result.switched_labels[0])


def test_a_step_along_the_gradient_is_as_long_as_signs(tmp_path):
    loaded = fcn_net(tmp_path)
    batch = np.concatenate([images(), 3 * images()])
    result = GuidedPerturbation(loaded, step="gradient")(batch, 0.01, keep_diff=True)
    assert result.perturbation.dtype == np.float32
    for direction, diff in zip(result.perturbation, result.diff):
        assert np.sqrt((direction.astype(np.float64) ** 2).mean()) == pytest.approx(1, rel=1e-5)
        cosine = (direction * diff).sum() / np.sqrt((direction**2).sum() * (diff**2).sum())
        assert cosine == pytest.approx(1, abs=1e-5)
    by_function = GuidedPerturbation(loaded, step=lambda diff: np.sign(diff))(batch, 0.01)
    np.testing.assert_array_equal(by_function.labels, GuidedPerturbation(loaded)(batch, 0.01).labels)


@pytest.mark.parametrize(
    "more, message",
    [
        ({"step": "sgn"}, "unknown step 'sgn'; did you mean sign"),
        ({"step": 1}, "unknown step 1"),
        ({"encoding": 3}, "unknown encoding 3"),
        ({"encoding": "thresholded-onehot"}, "needs a threshold"),
        ({"threshold": 0.5}, "only, not for 'onehot'"),
    ],
)
def test_bad_steps_and_encodings(tmp_path, more, message):
    with pytest.raises(CaffeGPError, match=message):
        GuidedPerturbation(fcn_net(tmp_path), **more)


@pytest.mark.parametrize("step", [lambda diff: diff[:, :1], lambda diff: diff * np.nan, lambda diff: None])
def test_what_a_step_s_function_must_give(tmp_path, step):
    with pytest.raises(CaffeGPError, match="what the step's function gives"):
        GuidedPerturbation(fcn_net(tmp_path), step=step)(images(), 0.1)


def test_entropy_falls_and_thresholds_silence(tmp_path):
    loaded = fcn_net(tmp_path)
    result = GuidedPerturbation(loaded, encoding="entropy")(images(), [1e-3, -1e-3], keep_probabilities=True)

    def entropy(y):
        y = y.astype(np.float64)
        return -(y * np.log(y)).sum()

    down, up = (entropy(y) for y in result.probabilities)
    assert down < entropy(result.base_probabilities) < up
    limit = float(np.median(result.base_confidence))
    some = GuidedPerturbation(loaded, encoding="thresholded-onehot", threshold=limit)(
        images(), 0.0, keep_diff=True
    )
    assert some.diff.any()
    with pytest.raises(ZeroGradientError):
        GuidedPerturbation(loaded, encoding="thresholded-onehot", threshold=1.0)(images(), 0.1)


def test_a_result_says_in_one_line_what_it_is(tmp_path):
    text = repr(GuidedPerturbation(fcn_net(tmp_path))(images(), [0.5, 1]))
    assert len(text) < 300 and "\n" not in text
    assert re.match(
        r"<GPResult of 1 x \d+ x \d+ labels, confidence 0\.\d+; eps 0\.5: \d+\.\d+ % changed", text
    )
