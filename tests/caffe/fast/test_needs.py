"""A backward pass that is asked for few diffs."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import NetError

from .test_changes import INPUT, TEXT, conv, net_of, put


@pytest.fixture
def net():
    net = net_of()
    put(net, np.random.RandomState(0).uniform(-50, 50, (2, 3, 45, 45)).astype(np.float32))
    net.forward()
    score = net.blobs["f"].shape
    net.blobs["f"].diff[...] = np.random.RandomState(1).normal(size=score)
    return net


def test_the_diff_is_that_of_a_whole_backward(net):
    for blob in ("data", "p", "q"):
        net.backward()
        expected = net.blobs[blob].diff_tensor.clone().numpy()
        with net.only_diffs(blob):
            net.backward()
        found = net.blobs[blob].diff_tensor.numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        with net.only_diffs(blob):
            net.backward()
        np.testing.assert_array_equal(net.blobs[blob].diff_tensor.numpy(), found)


def test_the_others_are_gone_and_say_so_until_they_are_written(net):
    net.backward()
    expected = net.blobs["b"].diff_tensor.clone().numpy()
    with net.only_diffs("data"):
        net.backward()
    for name in ("a", "b", "p", "c", "q", "e"):
        with pytest.raises(NetError, match="not kept: the last backward.*net.backward()"):
            net.blobs[name].diff  # noqa: B018
        assert not net.blobs[name].has_diff
    assert net.blobs["data"].diff.any() and net.blobs["f"].diff.any()
    net.backward()
    np.testing.assert_array_equal(net.blobs["b"].diff, expected)
    with net.only_diffs("data"):
        net.backward()
    np.testing.assert_array_equal(net.blobs["b"].diff[0, 0, 0], 0)  # a view stays, and holds what was needed
    net.blobs["c"].zero_diff()
    assert not net.blobs["c"].diff.any()


def test_parameters_keep_their_diffs(net):
    net.backward()
    before = {name: [blob.diff.copy() for blob in blobs] for name, blobs in net.params.items()}
    assert before["a"][0].any()
    with net.only_diffs("data"):
        net.backward()
    for name, blobs in net.params.items():
        for blob, diff in zip(blobs, before[name]):
            np.testing.assert_array_equal(blob.diff, diff)


def test_only_what_the_image_reaches_is_computed(net):
    with net.only_diffs("data"):
        parts = net._needs_now()._parts
        net.backward()
    windows = {name: parts[net.blobs[net.bottom_names[name][0]]] for name in ("b", "p", "c")}
    for name, window in windows.items():
        sides = net.blobs[net.bottom_names[name][0]].shape[2:]
        share = (window.bottom - window.top) * (window.right - window.left) / np.prod(sides)
        assert share < 0.2, (name, share)


def test_whoever_looks_on_sees_whole_diffs(net):
    net.backward()
    expected = net.blobs["b"].diff_tensor.clone().numpy()
    seen = []
    net.after_backward(lambda i: seen.append(net.blobs["b"].read_diff().copy()) if i == 2 else None)
    with net.only_diffs("data"):
        net.backward()
    np.testing.assert_array_equal(seen[0], expected)


@pytest.mark.parametrize(
    "layer",
    [
        'type: "MVN" mvn_param { across_channels: false }',
        'type: "BatchNorm" batch_norm_param { use_global_stats: false }',
        'type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL local_size: 5 }',
    ],
)
def test_a_layer_in_place_that_mixes_places(layer):
    text = INPUT + conv("a", "data", 40) + f'layer {{ name: "m" bottom: "a" top: "a" {layer} }}'
    net = net_of(text + conv("f", "a", 1, outputs=5, rectify=False))
    put(net, np.random.RandomState(0).uniform(-50, 50, (1, 3, 45, 45)).astype(np.float32))
    net.forward()
    net.blobs["f"].diff[...] = np.random.RandomState(1).normal(size=net.blobs["f"].shape)
    net.backward()
    expected = net.blobs["data"].diff_tensor.clone().numpy()
    with net.only_diffs("data"):
        net.backward()
    found = net.blobs["data"].read_diff()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_what_no_layer_writes_is_kept():
    """Diffs of outputs, the weights of losses among them, and of parameters."""
    loss = 'layer { name: "l" type: "EuclideanLoss" bottom: "f" bottom: "g" top: "l" loss_weight: 3 }'
    net = net_of(INPUT + conv("f", "data", 1, outputs=5) + conv("g", "data", 1, outputs=5) + loss)
    put(net, np.random.RandomState(0).uniform(-50, 50, (1, 3, 45, 45)).astype(np.float32))
    net.forward()
    for _ in range(2):
        with net.only_diffs("data"):
            net.backward()
        assert net.blobs["l"].diff == 3
        net.forward()
    net.backward()
    assert net.blobs["f"].diff.any()


def test_layers_in_place_that_keep_places_keep_the_part(net):
    """The engine puts such a Bias on the image."""
    probe = 'layer { name: "probe" type: "Bias" bottom: "data" top: "data" }'
    probed = net_of(TEXT.replace(INPUT, f"{INPUT} {probe} "))
    parts = []
    for one in (net, probed):
        with one.only_diffs("data"):
            parts.append(one._needs_now()._parts[one.blobs["a"]])
    assert parts[0] == parts[1] is not None


SCALED = """input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 5 } force_backward: true
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 4 kernel_size: 1
  weight_filler { type: "msra" } } }
layer { name: "s" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true filler { value: 2 } } }
layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
layer { name: "f" type: "InnerProduct" bottom: "a" top: "f" inner_product_param { num_output: 3
  weight_filler { type: "msra" } } }"""


def test_a_forward_for_few_diffs_keeps_no_scales_input():
    net = net_of(SCALED)
    put(net, np.random.RandomState(0).normal(size=(2, 3, 6, 5)))
    with net.only_diffs("data"):
        net.forward()
        net.blobs["f"].diff[...] = 1
        net.backward()
    found = net.blobs["data"].diff.copy()
    with pytest.raises(NetError, match="'s' .*needs a forward pass that keeps the layer's input"):
        net.backward()
    net.forward()
    net.backward()
    np.testing.assert_array_equal(found, net.blobs["data"].diff)
    assert net.params["s"][0].diff.any()


def test_with_a_callback_nothing_is_left_out():
    net = net_of(SCALED)
    put(net, np.ones((2, 3, 6, 5)))
    net.before_backward(lambda layer: None)
    with net.only_diffs("data"):
        net.forward()
        net.blobs["f"].diff[...] = 1
        net.backward()
    assert net.params["s"][0].diff.any() and net.blobs["a"].diff.any()
