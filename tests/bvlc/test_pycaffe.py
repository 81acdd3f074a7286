"""pycaffe's Net, Blob and solver, as scripts use them: the same must hold on both engines.

On BVLC Caffe:

    CAFFE_GP_ENGINE=bvlc tools/in_bvlc.sh python3 -m pytest tests/bvlc/test_pycaffe.py
"""

from __future__ import annotations

import pickle

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


NAMES = {
    "": "Net SGDSolver NCCL Timer Layer get_solver layer_type_list TRAIN TEST Classifier Detector "
    "io layers params NetSpec to_proto classifier detector net_spec proto pycaffe _caffe",
    "_caffe": "Blob BlobVec BoolVec DtypeVec IntVec Layer LayerParameter LayerVec NCCL Net NetVec RawBlobVec "
    "SGDSolver Solver SolverParameter StringVec Timer get_solver has_nccl set_mode_cpu solver_rank",
    "io": "Transformer array_to_datum blobproto_to_array caffe_pb2 load_image oversample resize skimage zoom",
    "pycaffe": "Net SGDSolver NCCL Timer OrderedDict izip_longest np _Net_blobs _Net_params _Net_forward "
    "_Net_backward _Net_batch _Net_forward_all _Net_set_input_arrays _Net_inputs _Net_outputs",
    "net_spec": "Counter Function Layers NetSpec Parameters Top assign_proto caffe_pb2 to_proto",
    "proto.caffe_pb2": "Phase TRAIN BlobProto DESCRIPTOR _PHASE _NETPARAMETER _V1LAYERPARAMETER_LAYERTYPE "
    "_LAYERPARAMETER _POOLINGPARAMETER_POOLMETHOD _PARAMSPEC_DIMCHECKMODE",
    "SGDSolver": "param net test_nets lr step solve restore snapshot share_weights add_callback",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_that_scripts_use(caffe, module):
    if module == "io":
        pytest.importorskip("skimage")
    place = caffe
    for part in module.split(".") if module else ():
        place = getattr(place, part)
    assert [name for name in NAMES[module].split() if not hasattr(place, name)] == []


def test_the_messages_are_one_module_and_their_fields_in_the_order_of_caffe_proto(caffe):
    pb = caffe.proto.caffe_pb2
    assert caffe.io.caffe_pb2 is pb and caffe.net_spec.caffe_pb2 is pb
    assert pb._V1LAYERPARAMETER_LAYERTYPE.values_by_name["RELU"].number == 18
    fields = [field.name for field in pb.PoolingParameter.DESCRIPTOR.fields]
    assert fields[:6] == ["pool", "pad", "pad_h", "pad_w", "kernel_size", "kernel_h"]
    assert [field.name for field in pb.BlobProto.DESCRIPTOR.fields][:3] == ["shape", "data", "diff"]
    message = pb.PoolingParameter(pad=2)
    assert pickle.loads(pickle.dumps(message)) == message


def test_types_of_what_a_net_holds(caffe, net, path, tmp_path):
    vectors = caffe._caffe
    assert type(net.params["ip"]) is vectors.BlobVec and type(net._blobs) is vectors.BlobVec
    assert type(net.layers) is vectors.LayerVec and type(net._layer_names) is vectors.StringVec
    assert type(net._inputs) is type(net._bottom_ids(1)) is type(net._outputs) is vectors.IntVec
    assert type(net._blob_loss_weights) is vectors.DtypeVec
    assert list(net.blobs) == list(net._blobs_dict) and list(net.params) == list(net._params_dict)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(f'net: "{path}" base_lr: 0.1 lr_policy: "fixed" max_iter: 5')
    made = caffe.SGDSolver(str(solver))
    assert type(made.test_nets) is vectors.NetVec and isinstance(made, vectors.Solver)
    assert (made.param.max_iter, made.param.display, made.param.layer_wise_reduce) == (5, 0, True)


def test_a_missing_file_is_a_runtime_error(caffe, path):
    for arguments in (("no.prototxt", caffe.TEST), ("no.prototxt", "no.caffemodel", caffe.TEST)):
        with pytest.raises(RuntimeError, match="no.prototxt"):
            caffe.Net(*arguments)
    with pytest.raises(RuntimeError, match="no.caffemodel"):
        caffe.Net(path, caffe.TEST, weights="no.caffemodel")
    with pytest.raises(RuntimeError, match="no.caffemodel"):
        caffe.Net(path, "no.caffemodel", caffe.TEST)


def test_dtypes(caffe):
    io, ones = caffe.io, np.ones((1, 3, 4, 5), np.float32)
    blob = io.array_to_blobproto(ones, diff=ones)
    arrays = io.blobprotovector_str_to_arraylist(io.arraylist_to_blobprotovector_str([ones]))
    assert io.blobproto_to_array(blob).dtype == io.blobproto_to_array(blob, True).dtype == np.float64
    assert arrays[0].dtype == io.datum_to_array(io.array_to_datum(ones[0])).dtype == np.float64
    assert io.datum_to_array(io.array_to_datum(ones[0].astype(np.uint8))).dtype == np.uint8
    image = ones[0].transpose(1, 2, 0)
    assert io.resize_image(image, (2, 2)).dtype == io.resize_image(image[..., :2], (2, 2)).dtype == np.float32
    assert io.oversample([image], (2, 2)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_deprocess_keeps_the_dtype_and_gives_white_as_one(caffe, dtype):
    transformer = caffe.io.Transformer({"data": (1, 3, 2, 2)})
    mean = np.array([104.00698793, 116.66876762, 122.67891434])
    transformer.set_mean("data", mean)
    transformer.set_raw_scale("data", 255)
    transformer.set_input_scale("data", 0.017)
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    image = transformer.preprocess("data", np.ones((2, 2, 3), dtype))
    assert image.dtype == np.float32
    back = transformer.deprocess("data", image.astype(dtype)[np.newaxis])
    assert back.dtype == dtype and back.shape == (2, 2, 3)
    np.testing.assert_allclose(back, 1, rtol=1e-6)


# The sums of resize_image of these images, as BVLC Caffe with scikit-image 0.18 gave them.
RESIZED = {
    0: [115.859, 14209.1, 33.5526, 1040.02, 43.8512, 1844.25],
    1: [102.43, 12518.5, 31.0458, 942.103, 41.6867, 1804.44],
    2: [67.0439, 8167.01, 17.1985, 570.749, 42.4114, 1821.77],
    3: [109.856, 13459.7, 32.3931, 986.298, 42.1558, 1818.12],
    4: [66.9886, 8161.63, 17.2938, 572.236, 42.2392, 1819.67],
    5: [66.9626, 8159.57, 17.3153, 572.616, 42.2109, 1819.33],
}


@pytest.mark.filterwarnings("ignore:Bi-quadratic")  # scikit-image's, beside BVLC Caffe
@pytest.mark.parametrize("order", RESIZED)
def test_resize_image_by_every_order(caffe, order):
    random = np.random.RandomState(5)
    sums = []
    for shape, size in (((4, 5, 3), (8, 10)), ((6, 4, 1), (7, 9)), ((3, 5, 2), (6, 7))):
        image = random.rand(*shape).astype(np.float32)
        resized = caffe.io.resize_image(image, size, interp_order=order)
        sums += [resized.sum(), (resized * np.arange(resized.size).reshape(resized.shape)).sum()]
    np.testing.assert_allclose(sums, RESIZED[order], rtol=1e-5)


SHARED = """
layer { name: "in" type: "Input" top: "x" top: "label"
        input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 3 } }
layer { name: "c" type: "InnerProduct" bottom: "a" top: "c" param { name: "w" } param { name: "d" }
        inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }
layer { name: "half" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "half" loss_weight: 0.5 }
"""


def test_what_weight_files_hold(caffe, tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "net.prototxt").write_text(SHARED)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    net.save(str(tmp_path / "w.caffemodel"))
    net.save_hdf5(str(tmp_path / "w.h5"))
    param = caffe.proto.caffe_pb2.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    losses = {layer.name: list(layer.loss_weight) for layer in param.layer if layer.loss_weight}
    assert losses == {"loss": [1], "half": [0.5]}
    assert {layer.name: len(layer.blobs) for layer in param.layer if layer.blobs} == {"a": 2, "c": 2}
    with h5py.File(str(tmp_path / "w.h5"), "r") as file:
        assert list(file) == ["data"]
        held = {name: sorted(file["data"][name]) for name in file["data"]}
    empty = {name: [] for name in ("in", "loss", "half", "label_in_1_split", "c_c_0_split")}
    assert held == {**empty, "a": ["0", "1"], "c": ["1"]}  # a shared blob at its owner only
    copy = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    for blob in net.params["a"][1], net.params["c"][1]:
        blob.data[...] = np.arange(3) + net.params["a"][1].data
    net.save_hdf5(str(tmp_path / "w.h5"))
    copy.load_hdf5(str(tmp_path / "w.h5"))
    for name in "ac":
        for ours, theirs in zip(copy.params[name], net.params[name]):
            np.testing.assert_array_equal(ours.data, theirs.data)
