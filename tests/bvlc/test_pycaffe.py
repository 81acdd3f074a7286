"""pycaffe's Net, Blob and solver, as scripts use them: the same must hold on both engines.

On BVLC Caffe:

    CAFFE_GP_ENGINE=bvlc tools/in_bvlc.sh python3 -m pytest tests/bvlc/test_pycaffe.py
"""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp import engines

if engines.resolve() == "torch":
    pytest.importorskip("torch", reason="the embedded Caffe needs torch")

pytestmark = pytest.mark.engine
NET = """
force_backward: true
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 4 dim: 2 dim: 5 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
IMAGES = np.random.RandomState(0).randn(9, 2, 5, 6).astype(np.float32)


@pytest.fixture(scope="module")
def caffe():
    return engines.load_caffe("auto")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    return str(tmp_path / "net.prototxt")


@pytest.fixture
def net(caffe, path):
    return caffe.Net(path, caffe.TEST)


def test_forward_returns_views_of_what_was_asked_for(net):
    out = net.forward(data=IMAGES[:4])
    assert list(out) == ["prob"] and out["prob"].shape == (4, 3)
    np.testing.assert_allclose(out["prob"].sum(1), 1, rtol=1e-6)
    net.blobs["prob"].data[...] = 7
    assert out["prob"].min() == 7  # out["prob"] is the blob's memory
    assert set(net.forward(blobs=["conv", "ip"])) == {"prob", "conv", "ip"}
    assert set(net.forward(end="conv")) == {"conv"}
    assert set(net.forward(start="ip")) == {"prob"}
    assert set(net.forward(blobs=["conv"], start="relu", end="ip")) == {"ip", "conv"}


def test_backward_returns_views_of_what_was_asked_for(net):
    net.forward(data=IMAGES[:4])
    diff = np.random.RandomState(1).randn(4, 3).astype(np.float32)
    out = net.backward(prob=diff)
    assert list(out) == ["data"]
    prob = net.blobs["prob"].data
    expected = prob * (diff - (diff * prob).sum(1, keepdims=True))  # Softmax's gradient
    np.testing.assert_allclose(net.blobs["ip"].diff, expected, atol=1e-6)
    assert set(net.backward(diffs=["conv", "ip"])) == {"data", "conv", "ip"}
    assert set(net.backward(start="ip")) == {"data"}
    assert set(net.backward(end="ip")) == {"conv"}
    assert set(net.backward(start="prob", end="relu")) == {"conv"}


def test_whole_sets_pass_in_batches(net):
    single = np.concatenate([net.forward(data=IMAGES[[i] * 4])["prob"][:1].copy() for i in range(9)])
    out = net.forward_all(blobs=["conv"], data=IMAGES)
    assert {name: array.shape for name, array in out.items()} == {"prob": (9, 3), "conv": (9, 3, 3, 4)}
    np.testing.assert_allclose(out["prob"], single, atol=1e-6)
    diff = np.random.RandomState(1).randn(9, 3).astype(np.float32)
    blobs, diffs = net.forward_backward_all(blobs=["ip"], diffs=["conv"], data=IMAGES, prob=diff)
    assert {name: array.shape for name, array in blobs.items()} == {"prob": (9, 3), "ip": (9, 3)}
    assert set(diffs) == {"data", "conv"}
    assert (diffs["data"].shape, diffs["conv"].shape) == ((9, 2, 5, 6), (9, 3, 3, 4))
    net.forward(data=IMAGES[4:8])
    net.backward(prob=diff[4:8])
    np.testing.assert_allclose(diffs["data"][4:8], net.blobs["data"].diff, atol=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda net: net.forward(other=IMAGES[:4]), "Input blob arguments do not match net inputs"),
        (lambda net: net.forward(data=IMAGES[:3]), "Input is not batch sized"),
        (lambda net: net.forward(start="other"), "'other' is not"),
        (lambda net: net.forward(blobs=["other"]), "other"),
        (lambda net: net.backward(ip=IMAGES[:4]), "Top diff arguments do not match net outputs"),
        (lambda net: net.backward(prob=np.zeros((3, 3))), "Diff is not batch sized"),
        (lambda net: net.backward(end="other"), "'other' is not"),
        (lambda net: net.forward(data=IMAGES[:4, :1, :, :3]), "could not broadcast"),
        (lambda net: net.params["conv"][2], "out of range"),
        (lambda net: net.set_input_arrays(IMAGES, np.zeros(9, np.float32)), "may only be called if"),
    ],
)
def test_wrong_calls(net, call, message):
    with pytest.raises(Exception, match=message):
        call(net)


def test_names_and_structure(net):
    assert list(net.blobs) == ["data", "conv", "ip", "prob"]
    assert list(net.params) == ["conv", "ip"]
    assert (net.inputs, net.outputs) == (["data"], ["prob"])
    assert list(net._layer_names) == list(net.layer_dict) == ["in", "conv", "relu", "ip", "prob"]
    assert [layer.type for layer in net.layers] == ["Input", "Convolution", "ReLU", "InnerProduct", "Softmax"]
    tops, bottoms = net.top_names, net.bottom_names
    assert list(tops) == list(bottoms) == list(net._layer_names)
    assert list(tops.values()) == [["data"], ["conv"], ["conv"], ["ip"], ["prob"]]
    assert list(bottoms.values()) == [[], ["data"], ["conv"], ["conv"], ["ip"]]
    assert dict(net.blob_loss_weights) == dict.fromkeys(net.blobs, 0)
    assert [blob.data.shape for blob in net.params["conv"]] == [(3, 2, 3, 3), (3,)]
    assert net.layer_dict["conv"].blobs[0].data.shape == (3, 2, 3, 3)


def test_blobs(net):
    blob = net.blobs["data"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (4, 2, 5, 6, 240)
    view = blob.data
    view[...] = IMAGES[:4]
    np.testing.assert_array_equal(net.blobs["data"].data, IMAGES[:4])
    with pytest.raises(AttributeError):
        blob.data = IMAGES[:4]
    ip = net.blobs["ip"]
    assert (ip.num, ip.channels, ip.height, ip.width) == (4, 3, 1, 1)
    blob.reshape(2, 2, 5, 6)
    assert blob.data.shape == (2, 2, 5, 6) and net.blobs["conv"].data.shape == (4, 3, 3, 4)
    net.reshape()
    assert net.blobs["conv"].data.shape == (2, 3, 3, 4)
    assert net.forward()["prob"].shape == (2, 3)


def test_parameters_shared_saved_and_cleared(caffe, net, path, tmp_path):
    other = caffe.Net(path, caffe.TEST)
    other.share_with(net)
    net.params["conv"][0].data[...] = 5
    assert other.params["conv"][0].data.min() == 5
    net.save(str(tmp_path / "a.caffemodel"))
    net.save_hdf5(str(tmp_path / "a.h5"))
    loaded = [
        caffe.Net(path, caffe.TEST, weights=str(tmp_path / "a.caffemodel")),
        caffe.Net(path, str(tmp_path / "a.caffemodel"), caffe.TEST),
        caffe.Net(path, caffe.TEST),
    ]
    loaded[2].load_hdf5(str(tmp_path / "a.h5"))
    for copy in loaded:
        for name, blobs in net.params.items():
            for ours, theirs in zip(copy.params[name], blobs):
                np.testing.assert_array_equal(ours.data, theirs.data)
    net.forward(data=IMAGES[:4])
    net.backward(prob=np.eye(4, 3, dtype=np.float32))
    assert abs(net.params["ip"][0].diff).max() > 0
    net.clear_param_diffs()
    assert abs(net.params["ip"][0].diff).max() == 0


def test_callbacks_name_the_layer_s_number(net):
    calls = []
    for event in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, event)(lambda layer, event=event: calls.append((event, layer)))
    net.forward(end="conv")
    net.backward(start="ip", end="relu")
    assert calls == [
        ("before_forward", 0),
        ("after_forward", 0),
        ("before_forward", 1),
        ("after_forward", 1),
        ("before_backward", 3),
        ("after_backward", 3),
        ("before_backward", 2),
        ("after_backward", 2),
    ]


def test_solvers(caffe, path, tmp_path):
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        f'net: "{path}" type: "Adam" base_lr: 0.1 lr_policy: "fixed" max_iter: 5 '
        f'snapshot_prefix: "{tmp_path}/s"'
    )
    made = caffe.get_solver(str(solver))
    assert type(made).__name__ == "AdamSolver" and made.iter == 0 and len(made.test_nets) == 0
    calls = []
    made.add_callback(lambda: calls.append("start"), lambda: calls.append("gradients"))
    made.step(2)
    assert made.iter == 2 and calls == ["start", "gradients"] * 2
    made.snapshot()
    assert {"s_iter_2.caffemodel", "s_iter_2.solverstate"} <= {file.name for file in tmp_path.iterdir()}
    made.solve()
    assert made.iter == 5 and (tmp_path / "s_iter_5.solverstate").exists()
    made.restore(str(tmp_path / "s_iter_2.solverstate"))
    assert made.iter == 2


def test_layer_types(caffe):
    assert {"Convolution", "Deconvolution", "Crop", "Python", "LSTM", "SPP"} <= set(caffe.layer_type_list())
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)
