"""What a pass leaves out: every blob has the bits that a net has which computes everything."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.caffe import fast
from caffe_gp.errors import NetError, UsageError

CHANNELS, SIZE = 64, 45


def conv(name, bottom, pad, more="", rectify=True, outputs=CHANNELS):
    relu = f'layer {{ name: "relu_{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}' if rectify else ""
    return f"""layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
        convolution_param {{ num_output: {outputs} kernel_size: 3 pad: {pad} {more}
        weight_filler {{ type: "msra" }} bias_filler {{ type: "gaussian" std: 0.1 }} }} }} {relu}\n"""


def pool(name, bottom):
    return f"""layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}"
        pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}\n"""


INPUT = f'input: "data" input_shape {{ dim: 1 dim: 3 dim: {SIZE} dim: {SIZE} }} force_backward: true\n'
TEXT = (
    INPUT + conv("a", "data", 60) + conv("b", "a", 1) + pool("p", "b") 
    + conv("c", "p", 2, "dilation: 2", False)
    + 'layer { name: "d" type: "Dropout" bottom: "c" top: "c" } '
    + pool("q", "c") + conv("e", "q", 1) + conv("f", "e", 0, outputs=5, rectify=False)
)  # fmt: skip


def net_of(text=TEXT):
    caffe.set_random_seed(0)
    return caffe.Net.from_param(proto.parse_net_param(text), caffe.TEST)


def put(net, image):
    net.blobs["data"].reshape(*image.shape)
    net.blobs["data"].data[...] = image


def values(net):
    return {name: blob.data_tensor.clone().numpy() for name, blob in net.blobs.items()}


def assert_same(net, fresh):
    for name, expected in values(fresh).items():
        np.testing.assert_array_equal(values(net)[name], expected, err_msg=name)


@pytest.fixture
def images():
    return np.random.RandomState(0).uniform(-50, 50, (4, 1, 3, SIZE, SIZE)).astype(np.float32)


def computed(net):
    """Share of the top that each layer computed in the last pass; 1 for everything."""
    return {
        name: 1.0
        if layer.window is None
        else (layer.window.bottom - layer.window.top) * (layer.window.right - layer.window.left)
        / np.prod(net.blobs[name].shape[2:])
        for name, layer in net.layer_dict.items()
        if layer.computes_parts
    }  # fmt: skip


def test_the_border_is_computed_once(images):
    net = net_of()
    for image in images:
        put(net, image)
        net.forward()
        fresh = net_of()
        put(fresh, image)
        fresh.forward()
        assert_same(net, fresh)
    shares = computed(net)
    assert shares["a"] < 0.1 and shares["b"] < 0.12 and shares["p"] < 0.12 and shares["c"] < 0.2, shares
    net.forward()  # nothing is known of 'data', of which the test has a view
    assert computed(net) == shares


def test_a_view_of_a_blob_makes_it_count_as_changed(images):
    net, fresh = net_of(), net_of()
    put(net, images[0])
    net.forward()
    view = net.blobs["b"].data  # may be written at any time
    view[...] = 1
    put(net, images[1])
    net.forward()
    view[...] = 2
    net.forward(start="p")
    put(net, images[2])
    net.forward()
    put(fresh, images[2])
    fresh.forward()
    assert_same(net, fresh)
    assert computed(net)["b"] == 1


@pytest.mark.parametrize("name, k", [("a", 0), ("b", 1), ("c", 0), ("c", 1)])
def test_changed_parameters_count(images, name, k):
    """Whether somebody has a view of them or not."""
    net, fresh = net_of(), net_of()
    put(net, images[0])
    net.forward()
    net.forward()
    net.params[name][k].data_tensor.mul_(2)
    fresh.params[name][k].data_tensor.mul_(2)
    net.forward()
    view = net.params[name][k].data
    view += 1
    fresh.params[name][k].data[...] += 1
    net.forward()
    put(fresh, images[0])
    fresh.forward()
    assert_same(net, fresh)
    view *= 3
    fresh.params[name][k].data[...] *= 3
    net.forward()
    fresh.forward()
    assert_same(net, fresh)


def test_passes_over_some_layers(images):
    """Stopped before the layers in place, or begun in the middle: nothing is left half done."""
    net, fresh = net_of(), net_of()
    for image in images:
        put(net, image)
        net.forward()
        net._forward(0, 0)  # without the ReLU behind it
        net._forward(0, 2)
        net.forward(start="p", end="d")
    put(net, images[0])
    net.forward()
    put(fresh, images[0])
    fresh.forward()
    assert_same(net, fresh)


def test_another_size_and_number_of_images(images):
    net, fresh = net_of(), net_of()
    many = np.concatenate(images)
    for batch in (images[0], many, images[1][..., 4:, :-7], many[:3], images[2]):
        put(net, batch)
        net.forward()
        net.forward()
    put(fresh, images[2])
    fresh.forward()
    assert_same(net, fresh)


def test_results_that_are_not_finite(images):
    """They go the plain path, and so does what is computed from them."""
    net = net_of()
    put(net, images[0])
    net.forward()
    bad = images[1].copy()
    bad[0, 0, 3, 3] = np.inf
    put(net, bad)
    net.forward()
    assert not np.isfinite(net.blobs["b"].read_data()).all()
    put(net, images[1])
    net.forward()
    fresh = net_of()
    put(fresh, images[1])
    fresh.forward()
    assert_same(net, fresh)


def test_without_fast_paths_everything_is_computed(images, monkeypatch):
    fast_net = net_of()
    monkeypatch.setenv(fast.VARIABLE, "0")
    net = net_of()
    for image in images[:2]:
        put(net, image)
        net.forward()
    assert set(computed(net).values()) == {1.0}
    put(fast_net, images[1])
    fast_net.forward()
    for name, expected in values(net).items():
        np.testing.assert_allclose(values(fast_net)[name], expected, atol=1e-5 * np.abs(expected).max())


def test_a_convolution_in_place(images):
    """Not something that Caffe supports, but what is read must not be overwritten meanwhile."""
    text = INPUT + conv("a", "data", 1, rectify=False)
    in_place = conv("b", "a", 1, rectify=False).replace('top: "b"', 'top: "a"')
    net, apart = net_of(text + in_place), net_of(text + conv("b", "a", 1, rectify=False))
    for one in (net, apart):
        put(one, images[0])
        one.forward()
        one.forward()
    np.testing.assert_array_equal(net.blobs["a"].data, apart.blobs["b"].data)


def test_the_variable_takes_0_and_1(monkeypatch):
    monkeypatch.setenv(fast.VARIABLE, "no")
    with pytest.raises(UsageError, match="CAFFE_GP_OPTIMIZE='no': expected 0 or 1"):
        net_of()


def test_a_layer_in_place_that_runs_alone(images):
    """It is not what the layer before it has left."""
    net, fresh = net_of(), net_of()
    put(net, images[0])
    net.forward()
    net.blobs["b"].data_tensor.fill_(7)
    net.forward(start="relu_b", end="relu_b")
    put(net, images[1])
    net.forward()
    put(fresh, images[1])
    fresh.forward()
    assert_same(net, fresh)


@pytest.mark.parametrize("shape", [(128, CHANNELS, 3, 3), (CHANNELS, 32, 3, 3), (CHANNELS, CHANNELS, 1, 9)])
def test_a_parameter_of_another_shape_is_refused(images, shape):
    net = net_of()
    put(net, images[0])
    net.forward()
    net.params["b"][0].reshape(*shape)
    with pytest.raises(NetError, match="layer 'b'"):
        net.forward()


def test_a_backward_after_another_shape_is_refused(images):
    net = net_of()
    put(net, images[0])
    net.forward()
    net.blobs["data"].reshape(2, 3, 90, 90)
    net.reshape()
    with pytest.raises(NetError, match="forward pass of the same shape first|since the last forward"):
        net.backward()


def test_copies_and_pickles_compute_the_same(images):
    net = net_of()
    put(net, images[0])
    net.forward()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        put(other, images[1])
        other.forward()
        put(net, images[2])
        net.forward()
        other.blobs["data"].share_data(net.blobs["data"])
        other.forward()
        assert_same(other, net)
