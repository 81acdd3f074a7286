"""Net: construction, passes, backward rules, parameters, messages (facts of BVLC Caffe and pycaffe)."""

from __future__ import annotations

import numpy as np
import pytest

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.errors import CaffeGPError, NetError, UnknownLayerTypeError, WeightsError

IP = 'inner_product_param {{ num_output: {} weight_filler {{ type: "gaussian" std: 0.5 }} }}'


def net(text, phase=caffe.TEST, **options):
    caffe.set_random_seed(1)  # with other weights all four ReLUs may be off
    return caffe.Net.from_param(proto.parse_net_param(text), phase, **options)


def layer(name, kind, bottoms="", tops="", rest=""):
    blobs = "".join(f' bottom: "{b}"' for b in bottoms.split()) + "".join(
        f' top: "{t}"' for t in tops.split()
    )
    return f'layer {{ name: "{name}" type: "{kind}"{blobs} {rest} }}\n'


def ip(name, bottom, top, outputs=4, rest=""):
    return layer(name, "InnerProduct", bottom, top, IP.format(outputs) + rest)


DATA = 'input: "data" input_shape { dim: 2 dim: 3 }\n'
BRANCHES = (
    DATA
    + ip("a", "data", "a")
    + layer("relu", "ReLU", "a", "a")
    + ip("b", "a", "b")
    + ip("c", "a", "c")
    + layer("sum", "Eltwise", "b c", "sum")
)


# ---- construction


def test_splits_are_named_as_caffe_names_them():
    n = net(BRANCHES)
    assert list(n._layer_names) == ["input", "a", "relu", "a_relu_0_split", "b", "c", "sum"]
    assert list(n.blobs) == ["data", "a", "a_relu_0_split_0", "a_relu_0_split_1", "b", "c", "sum"]
    assert n.inputs == ["data"] and n.outputs == ["sum"]
    assert n.bottom_names["c"] == ["a_relu_0_split_1"]
    assert n.top_names["a_relu_0_split"] == ["a_relu_0_split_0", "a_relu_0_split_1"]
    n = net(DATA + ip("a", "data", "a") + ip("b", "data", "b"))
    assert "data_input_0_split" in n._layer_names


def test_a_loss_weight_counts_as_a_reader():
    loss = layer("loss", "EuclideanLoss", "a b", "loss", "loss_weight: 2")
    n = net(
        DATA + ip("a", "data", "a") + ip("b", "data", "b") + loss + layer("twice", "Power", "loss", "twice")
    )
    assert "loss_loss_0_split" in n._layer_names
    # The loss keeps its default weight besides: observed on BVLC Caffe, whose _forward adds both as well.
    assert n.blob_loss_weights["loss_loss_0_split_0"] == 2 and n.blob_loss_weights["loss"] == 1


def test_constructors(tmp_path):
    path, weights = tmp_path / "net.prototxt", tmp_path / "w.caffemodel"
    path.write_text(DATA + ip("a", "data", "a"))
    first = caffe.Net(str(path), caffe.TEST)
    first.save(weights)
    for second in (
        caffe.Net(str(path), str(weights), caffe.TEST),
        caffe.Net(str(path), caffe.TEST, weights=str(weights)),
        caffe.Net(network_file=path, phase=caffe.TEST, weights=weights),
        caffe.Net(str(path), caffe.TEST, 0, [], str(weights)),
    ):
        np.testing.assert_array_equal(second.params["a"][0].data, first.params["a"][0].data)
    with pytest.raises(NetError, match="phase"):
        caffe.Net(str(path))


def test_phase_level_and_stages():
    text = DATA + ip("a", "data", "a") + layer("t", "ReLU", "a", "t", "include { phase: TRAIN }")
    text += layer("l", "ReLU", "a", "l", "include { min_level: 2 }")
    text += layer("s", "ReLU", "a", "s", 'include { stage: "deploy" }')
    assert net(text).outputs == ["a"]
    assert net(text, caffe.TRAIN).outputs == ["t"]
    assert net(text, level=2).outputs == ["l"]
    assert net(text, stages=("deploy",)).outputs == ["s"]


def test_outputs_are_in_alphabetical_order():
    n = net(DATA + ip("z", "data", "zeta") + ip("y", "data", "alpha"))
    assert n.outputs == ["alpha", "zeta"]


@pytest.mark.parametrize(
    "text, error, message",
    [
        (
            DATA + layer("x", "Convolutoin", "data", "x"),
            UnknownLayerTypeError,
            "'x'.*Convolutoin.*Convolution",
        ),
        (DATA + ip("a", "nothing", "a"), NetError, "Unknown bottom blob 'nothing'.*layer 'a'.*no layer"),
        (DATA + ip("a", "b", "a") + ip("b", "a", "b"), NetError, "Unknown bottom blob 'b'.*cycle"),
        (
            DATA + ip("a", "data", "x") + ip("b", "data", "x"),
            NetError,
            "'x' produced by multiple.*'a' and 'b'",
        ),
        (DATA + ip("a", "data", "a") + ip("a", "data", "b"), NetError, "two layers with parameters.*'a'"),
        (DATA + layer("s", "Softmax", "data data", "s"), NetError, "'s'.*takes 1 bottom"),
        (DATA + ip("a", "data", "a", rest="param { } param { } param { }"), NetError, "Too many params"),
        (
            DATA + ip("a", "data", "a", rest="propagate_down: true propagate_down: false"),
            NetError,
            "propagate_down",
        ),
        (DATA + layer("r", "ReLU", "data", "r", "loss_weight: 1 loss_weight: 2"), NetError, "once per top"),
        ('input: "d" input_shape { dim: 100000 dim: 100000 }', NetError, "exceed"),
        ('input: "d" input_shape { dim: 0 dim: 4611686018427387904 }', NetError, "a dimension exceeds"),
        (
            DATA + layer("p", "Python", "data", "p", 'python_param { module: "no_such_module_" layer: "L" }'),
            NetError,
            "no_such_module_",
        ),
    ],
)
def test_refuses(text, error, message):
    with pytest.raises(error, match=message) as caught:
        net(text, source="my.prototxt")
    assert "my.prototxt" in str(caught.value)
    assert isinstance(caught.value, CaffeGPError)


def test_equal_names_without_parameters_are_caffes_business():
    n = net(DATA + layer("r", "ReLU", "data", "a") + layer("r", "TanH", "a", "b"))
    assert n.layer_dict["r"].type == "TanH" and n.top_names["r"] == ["b"]
    n.forward(end="r")  # the first of that name
    assert not n.blobs["b"].data.any()


# ---- passes


def test_forward_returns_views_that_the_next_pass_overwrites():
    n = net(BRANCHES)
    out = n.forward(data=np.ones((2, 3)), blobs=["b"])
    assert set(out) == {"sum", "b"}
    kept = out["sum"].copy()
    n.forward(data=np.full((2, 3), -2.0))
    assert not np.array_equal(out["sum"], kept)
    np.testing.assert_array_equal(out["sum"], n.blobs["sum"].data)


def test_start_and_end_return_what_pycaffe_returns():
    n = net(BRANCHES + "force_backward: true")
    assert set(n.forward(end="b")) == {"b"}
    assert set(n.forward(start="c")) == {"sum"}
    assert set(n.backward(start="sum", end="b")) == {"a_relu_0_split_0"}
    assert set(n.backward(diffs=["c"])) == {"data", "c"}
    with pytest.raises(ValueError, match="not the name of a layer"):
        n.forward(start="nowhere")


def test_editing_a_blob_and_going_on_from_it():
    n = net(BRANCHES)
    n.forward(data=np.random.RandomState(0).randn(2, 3))
    n.blobs["a"].data[...] = [[1, 2, 3, 4], [0, 1, 0, 1]]
    n.forward(start="b")  # the split shares the memory of `a`
    w = [n.params[k][0].data + 0 for k in "bc"]
    np.testing.assert_allclose(n.blobs["sum"].data, n.blobs["a"].data @ (w[0] + w[1]).T, rtol=1e-5)


def test_a_reshaped_input_reaches_the_other_layers_at_the_next_forward():
    n = net(BRANCHES)
    n.blobs["data"].reshape(5, 3)
    assert n.blobs["sum"].shape == (2, 4)
    n.reshape()
    assert n.blobs["sum"].shape == (5, 4)
    n.blobs["data"].reshape(1, 3)
    assert n.forward()["sum"].shape == (1, 4)


def test_layers_reshape_where_a_shape_changed_and_where_they_may_look_at_more(monkeypatch):
    n, reshaped = net(BRANCHES), []

    def noted(layer):
        return lambda *blobs: (reshaped.append(layer.name), type(layer).reshape(layer, *blobs))

    for one in n.layers:
        monkeypatch.setattr(one, "reshape", noted(one))
    before = n.forward()["sum"].copy()
    assert reshaped == [one.name for one in n.layers if not one.reshapes_by_shape] == ["input", "sum"]
    for blob in ("b", "a"):  # outputs, of whatever shape a script gave them
        n.blobs[blob].reshape(7)
        reshaped.clear()
        np.testing.assert_array_equal(n.forward()["sum"], before)
        assert n.blobs[blob].shape == (2, 4) and blob in reshaped
    n.blobs["data"].reshape(2, 3, 1)
    reshaped.clear()
    n.forward()
    assert "a" in reshaped
    n.params["b"][0].reshape(2, 8)
    with pytest.raises(NetError, match="layer 'b'"):
        n.forward()
    n.params["b"][0].reshape(4, 4)
    np.testing.assert_array_equal(n.forward()["sum"], before)


def test_messages_of_pycaffe():
    n = net(BRANCHES + "force_backward: true")
    with pytest.raises(Exception, match="Input blob arguments do not match net inputs"):
        n.forward(datum=np.zeros((2, 3)))
    with pytest.raises(Exception, match="Input is not batch sized"):
        n.forward(data=np.zeros((3, 3)))
    with pytest.raises(Exception, match=r"Top diff arguments do not match net outputs.*'sum'.*'b'"):
        n.backward(b=np.zeros((2, 4)))
    with pytest.raises(Exception, match="Diff is not batch sized"):
        n.backward(sum=np.zeros((3, 4)))
    with pytest.raises(Exception, match="MemoryData"):
        n.set_input_arrays(np.zeros((2, 3, 1, 1), "f"), np.zeros(2, "f"))


def test_forward_all_and_forward_backward_all():
    n = net(BRANCHES + "force_backward: true")
    x, dy = np.random.RandomState(1).randn(5, 3), np.random.RandomState(2).randn(5, 4)
    out = n.forward_all(data=x, blobs=["a"])
    assert out["sum"].shape == (5, 4) and out["a"].shape == (5, 4)
    outs, diffs = n.forward_backward_all(data=x, sum=dy)
    np.testing.assert_array_equal(outs["sum"], out["sum"])
    w = {k: n.params[k][0].data.astype(float) for k in "abc"}
    expected = ((dy @ (w["b"] + w["c"])) * (x @ w["a"].T > 0)) @ w["a"]
    np.testing.assert_allclose(diffs["data"], expected, rtol=1e-4, atol=1e-6)


def test_forward_all_with_five_axes():
    data = 'input: "data" input_shape { dim: 2 dim: 1 dim: 2 dim: 3 dim: 2 }'
    n = net(data + layer("r", "ReLU", "data", "r"))
    x = np.random.RandomState(4).randn(3, 1, 2, 3, 2).astype(np.float32)
    np.testing.assert_array_equal(n.forward_all(data=x)["r"], np.maximum(x, 0))


def test_callbacks_run_around_every_layer():
    n, seen = net(BRANCHES + "force_backward: true"), []
    n.before_forward(lambda i: seen.append(("bf", i)))
    n.after_forward(lambda i: seen.append(("af", i)))
    n.before_backward(lambda i: seen.append(("bb", i)))
    n.after_backward(lambda i: seen.append(("ab", i)))
    n._forward(1, 2)
    n._backward(2, 1)
    assert seen == [("bf", 1), ("af", 1), ("bf", 2), ("af", 2), ("bb", 2), ("ab", 2), ("bb", 1), ("ab", 1)]


# ---- backward rules


def test_without_a_loss_nothing_is_backpropagated():
    n = net(BRANCHES)
    n.forward(data=np.ones((2, 3)))
    n.backward(sum=np.ones((2, 4)))
    assert not n.blobs["data"].diff.any() and not n.params["a"][0].diff.any()
    assert not any(n._layer_need_backward)


def test_force_backward_computes_and_accumulates_all_parameter_diffs():
    frozen = BRANCHES.replace(
        "inner_product_param", "param { lr_mult: 0 } param { lr_mult: 0 } inner_product_param"
    )
    n = net(frozen + "force_backward: true")
    n.forward(data=np.ones((2, 3)))
    n.backward(sum=np.ones((2, 4)))
    once, dx = n.params["a"][0].diff.copy(), n.blobs["data"].diff.copy()
    assert once.any() and dx.any()
    n.backward(sum=np.ones((2, 4)))
    np.testing.assert_allclose(n.params["a"][0].diff, 2 * once, rtol=1e-6)
    np.testing.assert_array_equal(n.blobs["data"].diff, dx)  # bottoms are overwritten
    n.clear_param_diffs()
    assert not n.params["a"][0].diff.any()


LOSS = layer("loss", "EuclideanLoss", "sum label", "loss")
LABEL = 'input: "label" input_shape { dim: 2 dim: 4 }\n'


def test_a_loss_turns_backward_on_and_lr_mult_zero_turns_parameters_off():
    text = DATA.replace("\n", "") + LABEL + BRANCHES[len(DATA) :] + LOSS
    text = text.replace('bottom: "data" top: "a"', 'bottom: "data" top: "a" param { lr_mult: 0 }')
    n = net(text, caffe.TRAIN)
    n.params["a"][0].data[0] = 1  # so that not all of the ReLU is off
    n.forward(data=np.ones((2, 3)), label=np.zeros((2, 4)))
    n.backward()
    assert not n.blobs["data"].diff.any()  # nothing to learn below `a`
    assert not n.params["a"][0].diff.any() and n.params["a"][1].diff.any()
    assert n.params["b"][0].diff.any()


def test_propagate_down_false_cuts_a_branch():
    text = DATA.replace("\n", "") + LABEL + BRANCHES[len(DATA) :] + LOSS
    n = net(text.replace('name: "b" type', 'name: "b" propagate_down: false type'), caffe.TRAIN)
    n.forward(data=np.ones((2, 3)), label=np.zeros((2, 4)))
    n.backward()
    assert not n.blobs["a_relu_0_split_0"].diff.any() and n.blobs["a_relu_0_split_1"].diff.any()


def test_backward_never_changes_data():
    n = net(BRANCHES + "force_backward: true")
    n.forward(data=np.random.RandomState(0).randn(2, 3))
    before = {name: blob.data.copy() for name, blob in n.blobs.items()}
    n.backward(sum=np.ones((2, 4)))
    for name, blob in n.blobs.items():
        np.testing.assert_array_equal(blob.data, before[name])


def test_seeding_by_keyword_and_by_diff_agree():
    n = net(BRANCHES + "force_backward: true")
    n.forward(data=np.ones((2, 3)))
    dy = np.random.RandomState(3).randn(2, 4)
    by_keyword = n.backward(sum=dy)["data"].copy()
    n.blobs["data"].diff[...] = 0
    n.blobs["sum"].diff[...] = dy
    np.testing.assert_array_equal(n.backward()["data"], by_keyword)


# ---- shared parameters


def shared(first, second, outputs=(3, 3)):
    return (
        DATA
        + ip("a", "data", "a", outputs[0], rest=f'param {{ name: "w" {first} }}')
        + ip("b", "a", "b", outputs[1], rest=f'param {{ name: "w" {second} }}')
        + "force_backward: true"
    )


def test_sharing_by_name():
    n = net(shared("lr_mult: 2", ""))
    assert len(n.learnable_params) == 3 and n.params_lr == [2, 1, 1]
    n.params["a"][0].data[...] = np.arange(9).reshape(3, 3)
    np.testing.assert_array_equal(n.params["b"][0].data, n.params["a"][0].data)
    x, dy = np.ones((2, 3)), np.ones((2, 3))
    n.forward(data=x)
    n.backward(b=dy)
    w = n.params["a"][0].data.astype(float)
    expected = (dy @ w).T @ x + dy.T @ (x @ w.T)  # both uses
    np.testing.assert_allclose(n.params["b"][0].diff, expected)


@pytest.mark.parametrize(
    "first, second, outputs, message",
    [
        ("", "", (3, 4), "Cannot share param 'w' owned by layer 'a' with layer 'b'; shape mismatch"),
        ("", "share_mode: PERMISSIVE", (3, 4), "count mismatch"),
        ("lr_mult: 1", "lr_mult: 2", (3, 3), "mismatched lr_mult"),
        ("decay_mult: 1", "decay_mult: 2", (3, 3), "mismatched decay_mult"),
    ],
)
def test_sharing_refuses(first, second, outputs, message):
    with pytest.raises(NetError, match=message):
        net(shared(first, second, outputs))


def test_share_with():
    one, other = net(BRANCHES), net(BRANCHES)
    other.share_with(one)
    one.params["a"][0].data[0, 0] = 42
    assert other.params["a"][0].data[0, 0] == 42
    with pytest.raises(WeightsError, match="Cannot share"):
        net(DATA + ip("a", "data", "a", 7)).share_with(one)


# ---- weight files


@pytest.mark.parametrize("kind", ["caffemodel", "h5"])
def test_save_and_load(tmp_path, kind):
    path = str(tmp_path / ("w.caffemodel" if kind == "caffemodel" else "w.caffemodel.h5"))
    one, other = net(BRANCHES), net(BRANCHES)
    one.save(path) if kind == "caffemodel" else one.save_hdf5(path)
    other.copy_from(path) if kind == "caffemodel" else other.load_hdf5(path)
    for name, blobs in one.params.items():
        for mine, theirs in zip(blobs, other.params[name]):
            np.testing.assert_array_equal(mine.data, theirs.data)


def test_hdf5_files_hold_a_shared_parameter_once(tmp_path):
    """BVLC Caffe writes shared blobs at their owner only; a layer that owns none is an empty group."""
    h5py = pytest.importorskip("h5py")
    text = DATA + "".join(
        ip(name, bottom, name, 3, rest='param { name: "w" } param { name: "b" }')
        for name, bottom in (("a", "data"), ("b", "a"))
    )
    path, one, other = tmp_path / "w.caffemodel.h5", net(text), net(text)
    one.save_hdf5(path)
    with h5py.File(path, "r") as file:
        assert list(file["data/a"]) == ["0", "1"] and list(file["data/b"]) == []
    other.load_hdf5(path)
    np.testing.assert_array_equal(other.params["b"][0].data, one.params["a"][0].data)
    with h5py.File(path, "r+") as file:
        del file["data/a/1"]
    with pytest.raises(WeightsError, match="Incompatible number of blobs for layer 'a'"):
        other.load_hdf5(path)


def test_unknown_layers_are_skipped_and_missing_ones_keep_their_fillers(tmp_path):
    path = tmp_path / "w.caffemodel"
    net(DATA + ip("a", "data", "a") + ip("only_there", "a", "b")).save(path)
    n = net(DATA + ip("a", "data", "a") + ip("only_here", "a", "b"))
    before = n.params["only_here"][0].data.copy()
    n.copy_from(path)
    np.testing.assert_array_equal(n.params["only_here"][0].data, before)


def test_wrong_weights_say_layer_expected_and_found(tmp_path):
    path = tmp_path / "w.caffemodel"
    net(DATA + ip("a", "data", "a", 5)).save(path)
    with pytest.raises(WeightsError, match=r"w\.caffemodel.*param 0.*layer 'a'.*\(4, 3\).*\(5, 3\)"):
        net(DATA + ip("a", "data", "a", 4)).copy_from(path)
    text = ip("a", "data", "a", 5).replace("inner_product_param {", "inner_product_param { bias_term: false")
    with pytest.raises(WeightsError, match="Incompatible number of blobs for layer 'a'.*1.*2"):
        net(DATA + text).copy_from(path)


def test_real_lenets_reach_their_published_accuracy(shared_data):
    """99.14 % (V2 file) and 99.05 % (V1 file) on the 10,000 MNIST test images, input / 256."""
    import gzip

    def idx(name, offset):
        return np.frombuffer(gzip.open(shared_data / "mnist" / name).read(), np.uint8, offset=offset)

    images = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28) / np.float32(256)
    labels = idx("t10k-labels-idx1-ubyte.gz", 8)
    for folder, correct in (("lenet_ethereon", 9914), ("cifar10_everpeace", 9905)):
        base = shared_data / "caffemodels" / folder / "examples" / "mnist"
        n = caffe.Net(str(base / "lenet.prototxt"), str(base / "lenet_iter_10000.caffemodel"), caffe.TEST)
        n.blobs[n.inputs[0]].reshape(1000, 1, 28, 28)
        (out,) = n.forward_all(**{n.inputs[0]: images}).values()
        assert (out.argmax(1) == labels).sum() == correct


def test_the_log_lines_of_construction(caplog, tmp_path):
    """BVLC Caffe's lines for this net; it writes 'Creating layer loss' twice, for the Softmax inside."""
    text = (
        layer("in", "Input", tops="x label", rest="input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } }")
        + ip("a", "x", "a", 3, rest='param { name: "w" }')
        + layer("r", "ReLU", "a", "a")
        + ip("c", "a", "c", 3, rest='param { name: "w" }')
        + layer("loss", "SoftmaxWithLoss", "c label")
    )
    with caplog.at_level("INFO", logger="caffe_gp.caffe"):
        made = net(text, caffe.TRAIN)
        made.save(tmp_path / "w.caffemodel")
        net(text.replace('"c"', '"cc"'), caffe.TRAIN).copy_from(tmp_path / "w.caffemodel")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("Initializing net from parameters: \n") and "phase: TRAIN" in lines[0]
    for name, tops in (("in", "x label"), ("a", "a"), ("r", ""), ("c", "c"), ("loss", "(automatic)")):
        start = lines.index(f"Creating Layer {name}")
        assert lines[start - 1] == f"Creating layer {name}"
        for top in tops.split():
            assert f"{name} -> {top}" in lines
    assert {"r <- a", "r -> a (in-place)", "Top shape: 2 3 (6)", "Top shape: (1)"} <= set(lines)
    start = lines.index("Setting up loss")
    assert lines[start:][:9] == [
        "Setting up loss",
        "Top shape: (1)",
        "    with loss weight 1",
        "Memory required for data: 108",
        "loss needs backward computation.",
        "c needs backward computation.",
        "r needs backward computation.",
        "a needs backward computation.",
        "in does not need backward computation.",
    ]
    assert "Sharing parameters 'w' owned by layer 'a', param index 0" in lines
    assert "Network initialization done." in lines and lines[-1] == "Ignoring source layer c"


def test_errors_of_torch_name_net_layer_and_shapes():
    n = net("force_backward: true " + DATA + ip("a", "data", "a") + layer("p", "PReLU", "a", "p"))
    n.forward()
    n.blobs["p"].reshape(5, 4)
    with pytest.raises(NetError, match=r"layer 'p' \(PReLU\): .*forward"):
        n.backward()
    n.params["a"][0].reshape(3, 5)
    with pytest.raises(NetError, match=r"layer 'a' \(InnerProduct\): cannot compute with bottoms .*reshaped"):
        n.forward()


def test_a_layer_of_a_fork_names_the_fork_and_what_to_do():
    with pytest.raises(UnknownLayerTypeError, match="'x'.*Correlation.*FlowNet.*Python"):
        net(DATA + layer("x", "Correlation", "data", "x"))


# ---- bad nets: a NetError that names the layer, whatever a library below raises

BOX = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


@pytest.mark.parametrize(
    "kind, rest",
    [
        ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 }"),
        ("Deconvolution", "convolution_param { num_output: 4 kernel_size: 3 }"),
        ("InnerProduct", "inner_product_param { num_output: 4 }"),
        ("Embed", "embed_param { num_output: 2 input_dim: 3 }"),
        ("Pooling", "pooling_param { kernel_size: 2 }"),
        ("Interp", "interp_param { height: 3 width: 3 }"),
        ("SPP", "spp_param { pyramid_height: 2 }"),
        ("Tile", "tile_param { tiles: 2 }"),
        ("Im2col", "convolution_param { kernel_size: 3 }"),
        ("ArgMax", ""),
        ("Reduction", ""),
    ],
)
def test_in_place_with_another_shape_is_refused(kind, rest):
    with pytest.raises(NetError, match=rf"layer 't' \({kind}\): does not work in place"):
        net(BOX + layer("t", kind, "data", "data", rest))


def test_in_place_with_another_shape_is_refused_later_too():
    n = net(BOX + layer("t", "Interp", "data", "data", "interp_param { height: 8 width: 8 }"))
    n.forward()
    n.blobs["data"].reshape(1, 3, 6, 6)
    with pytest.raises(NetError, match=r"layer 't' .*the shape \(1, 3, 6, 6\), its top \(1, 3, 8, 8\)"):
        n.forward()


def test_two_equal_tops_are_refused():
    for text in ('layer { name: "d" type: "Input" top: "" top: "" }', layer("s", "Slice", "data", "a a")):
        with pytest.raises(NetError, match="produced by multiple sources"):
            net(BOX + text)


CONV = "convolution_param {{ num_output: 1 kernel_size: 3 {} }}"


@pytest.mark.parametrize(
    "kind, rest, says",
    [
        ("Convolution", CONV.format("group: 0"), "group must be at least 1"),
        ("Convolution", CONV.format("dilation: 0"), "dilation must be nonzero"),
        ("Convolution", CONV.format('weight_filler { type: "gaussian" std: -1 }'), "std -1"),
        ("Convolution", CONV.format('weight_filler { type: "uniform" min: 1 max: -1 }'), "min 1"),
        ("Pooling", "pooling_param { kernel_size: 2 stride: 0 }", "stride must be at least 1"),
        ("ArgMax", "argmax_param { top_k: 0 }", "top_k"),
    ],
)
def test_parameters_out_of_range(kind, rest, says):
    with pytest.raises(NetError, match=rf"layer 't'.*{says}"):
        net(BOX + layer("t", kind, "data", "t", rest))


@pytest.mark.parametrize("filler", ["constant", "xavier", "msra", "uniform", "gaussian", "positive_unitball"])
def test_a_filler_needs_elements(filler):  # Caffe's CHECK(count)
    weights = f'inner_product_param {{ num_output: 3 weight_filler {{ type: "{filler}" }} }}'
    with pytest.raises(NetError, match="layer 't'.*nothing to fill"):
        net('input: "data" input_shape { dim: 1 dim: 0 }' + layer("t", "InnerProduct", "data", "t", weights))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError,
        ValueError,
        IndexError,
        OverflowError,
        ZeroDivisionError,
        StopIteration,
        MemoryError,
        OSError,
    ],
)
@pytest.mark.parametrize("step", ["setup", "reshape", "forward", "backward"])
def test_what_libraries_raise_becomes_a_neterror(monkeypatch, error, step):
    def fail(*args):
        raise error("of a library")

    text = "force_backward: true " + BOX + layer("t", "ReLU", "data", "t")
    ready = net(text)
    monkeypatch.setattr(type(ready.layers[1]), step, fail)
    with pytest.raises(
        NetError, match=rf"layer 't' \(ReLU\): cannot .*\(1, 3, 8, 8\).*{error.__name__}"
    ) as caught:
        if step == "setup":
            net(text)
        ready.blobs["t"].reshape(1)  # else there is nothing to reshape
        ready.forward()
        ready.backward(t=ready.blobs["t"].data)
    assert isinstance(caught.value.__cause__, error)
    assert ("smaller batch" in str(caught.value)) == (error is MemoryError)


def test_exp_overflows_to_infinity_as_in_caffe():
    n = net(DATA + layer("e", "Exp", "data", "e", "exp_param { shift: 1e30 }"))
    assert np.isposinf(n.forward()["e"]).all()


def test_split_names_have_a_limit():
    """A few letters in each of many bottoms, and every split's name repeats the layer's."""
    name = "n" * 1000
    readers = 'bottom: "d" ' * 20_000
    text = f"""layer {{ name: "{name}" type: "Input" top: "d" input_param {{ shape {{ dim: 1 }} }} }}
        layer {{ name: "c" type: "Concat" {readers} top: "c" }}"""
    with pytest.raises(NetError, match="layer 'n{40}'.* has 20000 readers: .* more than 16 MB"):
        net(text)
