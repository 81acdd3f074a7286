"""``caffe_gp inspect``: what it says about every kind of file, and about files that are none."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.io import savemat

from caffe_gp import proto
from caffe_gp.cli.inspect import describe_file
from caffe_gp.errors import EngineError, PrototxtError, WeightsError
from caffe_gp.models import zoo
from caffe_gp.models.prepared import prepared_text
from caffe_gp.proto import messages as pb

h5py = pytest.importorskip("h5py")
caffe = pytest.importorskip("caffe_gp.caffe")

# 6 x 3 x 5 x 5 + 6 = 456; 10 x (6 x 4 x 4) + 10 = 970. The second convolution has the first's parameters.
DEPLOY = """
name: "tiny"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { name: "w" } param { name: "b" }
        convolution_param { num_output: 6 kernel_size: 5 } }
layer { name: "again" type: "Convolution" bottom: "data" top: "again" param { name: "w" } param { name: "b" }
        convolution_param { num_output: 6 kernel_size: 5 } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "again" top: "sum" }
layer { name: "fc" type: "InnerProduct" bottom: "sum" top: "fc" inner_product_param { num_output: 10 } }
"""
V1 = """
name: "old"
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
         convolution_param { num_output: 6 kernel_size: 5 } }
"""
V0 = """
name: "older"
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "conv" type: "conv" num_output: 6 kernelsize: 5 } bottom: "data" top: "conv" }
"""
TRAIN = """
name: "train"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { crop_size: 8 } data_param { source: "lmdb" batch_size: 2 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 5 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
SOLVER = """
# net: "not this one"
train_net: "train.prototxt"
base_lr: 0.01  lr_policy: "step" gamma: 0.1 stepsize: 100 solver_mode: GPU
snapshot_prefix: "out/snap"
"""


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(description):
    return [(row.name, row.type, row.blobs, row.values) for row in description.layers]


def check_common(description, path, kind, version=""):
    content = path.read_bytes()
    assert description.path == str(path)
    assert (description.kind, description.version) == (kind, version)
    assert description.size == len(content)
    assert description.sha256 == hashlib.sha256(content).hexdigest()


# ---- prototxts


def test_deploy(tmp_path):
    path = write(tmp_path, "deploy.prototxt", DEPLOY)
    description = describe_file(path)
    check_common(description, path, "net", "V2")
    conv = [(6, 3, 5, 5), (6,)]
    assert rows(description) == [
        ("in", "Input", [], 0),
        ("conv", "Convolution", conv, 456),
        ("again", "Convolution", conv, 456),
        ("sum", "Eltwise", [], 0),
        ("fc", "InnerProduct", [(10, 96), (10,)], 970),
    ]
    assert [row.shared for row in description.layers] == [False, False, True, False, False]
    assert description.parameters == 456 + 970
    assert description.models == [] and description.facts == {"name": "tiny", "from": "BVLC Caffe"}


@pytest.mark.parametrize("text, version", [(V1, "V1"), (V0, "V0")])
def test_old_dialects(tmp_path, text, version):
    description = describe_file(write(tmp_path, "net.prototxt", text))
    assert (description.kind, description.version) == ("net", version)
    assert ("conv", "Convolution", [(6, 3, 5, 5), (6,)], 456) in rows(description)
    assert description.parameters == 456


def test_train_val(tmp_path):
    description = describe_file(write(tmp_path, "train.prototxt", TRAIN))
    assert [row.name for row in description.layers] == ["data", "conv", "fc", "loss"]
    assert description.parameters == 456 + 970


def test_shapes_that_cannot_be_told(tmp_path):
    text = TRAIN.replace("crop_size: 8", "mirror: true")
    description = describe_file(write(tmp_path, "train.prototxt", text))
    assert description.parameters is None
    assert "needs images of one size" in description.facts["note"]
    assert "parameters: not known; 4 layers, 2 with parameters" in description.text()


def test_python_layers_are_not_run(tmp_path, monkeypatch):
    write(tmp_path, "evil_layer.py", "raise SystemExit('this must not run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = DEPLOY.replace(
        'name: "sum" type: "Eltwise"',
        'name: "sum" type: "Python" python_param { module: "evil_layer" layer: "L" }',
    )
    description = describe_file(write(tmp_path, "net.prototxt", text))
    assert description.parameters is None and "is in Python" in description.facts["note"]
    assert "evil_layer" not in sys.modules


FOREIGN = (
    DEPLOY
    + """
layer { name: "flow" type: "Correlation" bottom: "conv" bottom: "again" top: "flow"
        correlation_param { pad: 20 } }
layer { name: "flow2" type: "Correlation" bottom: "conv" bottom: "again" top: "flow2" }
layer { name: "words" type: "WordEmbeddings" bottom: "flow" top: "words" }
layer { name: "loss" type: "MultiBoxLoss" bottom: "fc" bottom: "words" top: "loss" }
"""
)


def test_a_net_of_a_fork_that_cannot_be_built(tmp_path, command):
    """Whose it is, which layers are not available, and what to do with each."""
    path = write(tmp_path, "net.prototxt", FOREIGN)
    description = describe_file(path)
    origin = description.facts["from"]
    assert "FlowNet 2 (lmb-freiburg/flownet2): Correlation" in origin
    assert (
        "SSD (weiliu89/caffe)" in origin
        and "its own, or a fork that is not known here: WordEmbeddings" in origin
    )
    lacking = description.facts["not available here"]
    assert lacking[0] == "Correlation (layers 'flow', 'flow2'): cut the net below it (--score NAME)"
    assert lacking[1].startswith("WordEmbeddings (layer 'words'): cut the net below it")
    assert lacking[2] == "MultiBoxLoss (layer 'loss'): only training and evaluation need it: remove it"
    assert "register_layer" in lacking[3] and len(lacking) == 4
    assert description.parameters is None and len(description.layers) == 9
    text, _ = command("inspect", path)
    assert "  not available here:\n    Correlation (layers" in text
    assert json.loads(command("inspect", "--json", path)[0])["facts"]["not available here"] == lacking


def test_fields_of_forks_in_layers_that_are_there(tmp_path):
    text = DEPLOY.replace("num_output: 6", "num_output: 6 relu: true") + "bn_stats_batch_size: 8"
    facts = describe_file(write(tmp_path, "net.prototxt", text)).facts
    assert facts["from"] == "Intel Caffe (intel/caffe): convolution_param.relu, bn_stats_batch_size"
    first, second = facts["not available here"]
    assert first.startswith("bn_stats_batch_size, a field of Intel Caffe (intel/caffe): it changes")
    assert second.startswith("convolution_param.relu (layers 'conv', 'again'), a field of Intel Caffe")
    text = DEPLOY.replace('type: "Eltwise"', 'type: "Eltwise" forward_type: FLOAT16')
    description = describe_file(write(tmp_path, "net.prototxt", text))
    assert description.facts["from"] == "NVIDIA Caffe (NVIDIA/caffe): forward_type"
    assert "not available here" not in description.facts and description.parameters == 1426


def test_data_layers_of_forks(tmp_path):
    """The size of the images is in the fork's transform, so that the parameters are known."""
    text = TRAIN.replace('type: "Data"', 'type: "AnnotatedData"')
    sized = "resize_param { prob: 1 resize_mode: WARP height: 8 width: 8 } distort_param { hue_prob: 0.5 }"
    for transform in (sized, "crop_h: 8 crop_w: 8", "crop_height: 8 crop_width: 8"):
        path = write(tmp_path, "train.prototxt", text.replace("crop_size: 8", transform))
        description = describe_file(path)
        assert description.parameters == 456 + 970, description.facts
        lacking = description.facts["not available here"]
        assert lacking[0].startswith("AnnotatedData (layer 'data'): it brings data: put an Input layer")
    several = "resize_param { height: 8 width: 8 } resize_param { height: 9 width: 9 }"
    path = write(tmp_path, "train.prototxt", text.replace("crop_size: 8", several))
    assert describe_file(path).parameters is None
    plain = TRAIN.replace("crop_size: 8", sized)
    lacking = describe_file(write(tmp_path, "train.prototxt", plain)).facts["not available here"]
    assert [one.split(",")[0] for one in lacking] == [
        "transform_param.resize_param (layer 'data')",
        "transform_param.distort_param (layer 'data')",
    ]


def test_nvidia_s_batch_norm(tmp_path):
    net = proto.parse_net_param(DEPLOY)
    bn = net.layer.add(name="bn", type="BatchNorm", bottom=["fc"], top=["fc"])
    bn.batch_norm_param.scale_bias = True
    path = tmp_path / "net.prototxt"
    proto.write_text(net, path)
    description = describe_file(path)
    assert rows(description)[-1] == ("bn", "BatchNorm", [(10,), (10,), (1,), (10,), (10,)], 41)
    assert description.facts["from"].startswith("NVIDIA Caffe (NVIDIA/caffe): batch_norm_param.scale_bias")


def test_half_precision_weights(tmp_path, command):
    net = proto.parse_net_param(DEPLOY)
    for layer in net.layer:
        for array in tiny_arrays().get(layer.name, ()):
            raw = np.asarray(array, "<f2")
            layer.blobs.add(raw_data=raw.tobytes(), raw_data_type=pb.FLOAT16).shape.dim.extend(raw.shape)
    path = write(tmp_path, "half.caffemodel", net.SerializeToString())
    description = describe_file(path)
    assert description.kind == "caffemodel" and description.parameters > 0
    assert "FLOAT16" in description.facts["values"]
    assert "values: raw, FLOAT16" in command("inspect", path)[0]


def test_solver_of_a_fork(tmp_path):
    facts = describe_file(write(tmp_path, "s.prototxt", SOLVER + 'eval_type: "detection" min_lr: 0')).facts
    assert "NVIDIA" in facts["from"] and facts["eval_type"] == "detection"
    assert [one.split(",")[0] for one in facts["not available here"]] == ["eval_type"]
    assert describe_file(write(tmp_path, "s.prototxt", SOLVER)).facts["from"] == "BVLC Caffe"


def test_solver(tmp_path):
    path = write(tmp_path, "solver.prototxt", SOLVER)
    description = describe_file(path)
    check_common(description, path, "solver")
    expected = {"train_net": "train.prototxt", "base_lr": 0.01, "lr_policy": "step", "stepsize": 100}
    assert {name: description.facts[name] for name in expected} == expected
    assert description.facts["solver_mode"] == "GPU" and not description.layers


@pytest.mark.parametrize("name", list(zoo.MODELS))
def test_every_prototxt_of_the_zoo(name, tmp_path):
    model = zoo.get(name)
    description = describe_file(model.prototxt())
    assert description.parameters == model.parameters
    assert description.models == [name]
    describe_file(write(tmp_path, "prepared.prototxt", prepared_text(name)))


def test_a_name_of_two_lines_stays_on_one(tmp_path):
    (tmp_path / "n.caffemodel").write_bytes(b"\xa2\x06\x05\x0a\x03a\nb")
    text = describe_file(tmp_path / "n.caffemodel").text()
    assert "  a\\nb" in text.split("\n")


def test_prototxts_that_are_none(tmp_path):
    with pytest.raises(PrototxtError, match="no field named 'layr'"):
        describe_file(write(tmp_path, "net.prototxt", 'layr { name: "x" }'))
    with pytest.raises(PrototxtError, match="no field named 'nett'"):
        describe_file(write(tmp_path, "solver.prototxt", 'nett: "x" base_lr: 0.1'.replace(" base", "\nbase")))


# ---- weights


def tiny_arrays():
    rng = np.random.RandomState(0)
    shapes = {"conv": [(6, 3, 5, 5), (6,)], "fc": [(10, 96), (10,)]}
    return {name: [rng.rand(*shape).astype(np.float32) for shape in found] for name, found in shapes.items()}


def test_caffemodel_and_hdf5(tmp_path):
    net = proto.parse_net_param(DEPLOY)
    path = tmp_path / "w.caffemodel"
    proto.write_caffemodel(path, net, tiny_arrays())
    description = describe_file(path)
    check_common(description, path, "caffemodel", "V2")
    assert ("fc", "InnerProduct", [(10, 96), (10,)], 970) in rows(description)
    assert ("sum", "Eltwise", [], 0) in rows(description)
    assert description.parameters == 456 + 970
    path = tmp_path / "w.caffemodel.h5"
    proto.write_hdf5(path, net, tiny_arrays())
    description = describe_file(path)
    check_common(description, path, "HDF5 weights")
    assert ("fc", "", [(10, 96), (10,)], 970) in rows(description)
    assert description.parameters == 456 + 970


def test_old_caffemodels(tmp_path):
    """The oldest files give every shape four axes."""
    for version in ("V1", "V0"):
        net = pb.NetParameter(name="old")
        layer = net.layers.add()
        if version == "V0":
            layer = layer.layer
            layer.name, layer.type = "conv", "conv"
        else:
            layer.name, layer.type = "conv", pb.V1LayerParameter.CONVOLUTION
        for shape in ((6, 3, 5, 5), (1, 1, 1, 6)):
            blob = layer.blobs.add(num=shape[0], channels=shape[1], height=shape[2], width=shape[3])
            blob.data.extend([0.5] * int(np.prod(shape)))
        description = describe_file(write(tmp_path, "w.caffemodel", net.SerializeToString()))
        assert (description.kind, description.version) == ("caffemodel", version)
        assert rows(description) == [("conv", "Convolution", [(6, 3, 5, 5), (1, 1, 1, 6)], 456)]


def test_models_that_weights_fit(tmp_path):
    """By names and shapes: LeNet's, and with one array more, or another shape."""
    net = zoo.get("lenet").net()
    shapes = {
        "conv1": [(20, 1, 5, 5), (20,)],
        "conv2": [(50, 20, 5, 5), (50,)],
        "ip1": [(500, 800), (500,)],
        "ip2": [(10, 500), (10,)],
    }
    path = tmp_path / "w.caffemodel"
    for change, expected in (({}, ["lenet"]), ({"ip2": [(11, 500), (11,)]}, []), ({"ip2": []}, [])):
        arrays = {
            name: [np.zeros(shape, np.float32) for shape in found]
            for name, found in {**shapes, **change}.items()
        }
        proto.write_caffemodel(path, net, arrays)
        assert describe_file(path).models == expected


def test_crf_rnn_weights_fit_both_nets(tmp_path):
    """A file of its layers' shapes: half a gigabyte, of which the disk holds next to nothing."""
    from caffe_gp.surgery.param_shapes import param_shapes

    path = tmp_path / "w.caffemodel"
    sparse_caffemodel(path, param_shapes(zoo.get("crfasrnn-coco").net()))
    description = describe_file(path)
    assert description.size > 4 * 134_491_103 and description.parameters == 134_491_103
    assert description.models == ["fcn-8s-coco", "crfasrnn-coco"]


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def prefixed(number, length, content=b""):
    return varint(number << 3 | 2) + varint(length) + content


def sparse_caffemodel(path, shapes):
    """A caffemodel of zeros that are holes in the file."""
    with open(path, "wb") as stream:
        for name, blobs in shapes.items():
            parts = []
            for shape in blobs:
                size = 4 * int(np.prod(shape))
                dims = b"".join(map(varint, shape))
                shape_field = prefixed(7, 2 + len(dims), prefixed(1, len(dims), dims))
                head = prefixed(5, size)
                parts.append((prefixed(7, len(head) + size + len(shape_field)) + head, size, shape_field))
            title = prefixed(1, len(name), name.encode())
            stream.write(prefixed(100, len(title) + sum(len(a) + n + len(b) for a, n, b in parts)) + title)
            for before, size, after in parts:
                stream.write(before)
                stream.seek(size, os.SEEK_CUR)
                stream.write(after)


def test_big_files_are_not_read_into_memory(tmp_path):
    path = tmp_path / "w.caffemodel"
    sparse_caffemodel(path, {"fc6": [(4096, 25088), (4096,)]})
    code = (
        "import re, sys\n"
        "from caffe_gp.cli.inspect import describe_file\n"
        "assert describe_file(sys.argv[1]).parameters == 4096 * 25089\n"
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read()).group(1))\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert path.stat().st_size > 400e6
    assert int(result.stdout) < 250_000  # kB at the most at any time


def test_mean_image(tmp_path):
    mean = np.random.RandomState(0).uniform(0, 255, (1, 3, 4, 5)).astype(np.float32)
    path = tmp_path / "mean.binaryproto"
    proto.write_blob(path, mean)
    description = describe_file(path)
    check_common(description, path, "mean image")
    assert description.facts["shape"] == [1, 3, 4, 5]
    expected = mean.astype(np.float64).reshape(3, 20).mean(axis=1)
    np.testing.assert_allclose(description.facts["mean of each channel"], expected, atol=1e-3)
    proto.write_blob(path, mean[0])
    assert describe_file(path).facts["shape"] == [3, 4, 5]


def test_solver_state(tmp_path):
    path = tmp_path / "snap_iter_70.solverstate"
    proto.write_solverstate(path, 70, "snap_iter_70.caffemodel", 3, tiny_arrays()["conv"])
    description = describe_file(path)
    check_common(description, path, "solver state")
    assert description.facts == {"iter": 70, "current_step": 3, "learned_net": "snap_iter_70.caffemodel"}
    assert [row.blobs for row in description.layers] == [[(6, 3, 5, 5)], [(6,)]]


# ---- other frameworks


def test_files_of_other_frameworks(tmp_path):
    torch = pytest.importorskip("torch")
    kernel, bias = np.zeros((2, 3, 1, 1), np.float32), np.zeros(2, np.float32)
    torch.save({"score_fr.weight": torch.tensor(kernel), "steps": torch.tensor(3)}, tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", **{"score_fr/W": kernel, "score_fr/b": bias})
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"score-fr"])
        file["score-fr/score-fr/kernel:0"] = kernel.transpose(2, 3, 1, 0)
    params = np.empty((1, 1), [("name", object), ("value", object)])
    params[0, 0] = ("score_frf", kernel.transpose(2, 3, 1, 0))
    savemat(tmp_path / "w.mat", {"params": params})
    found = {}
    for name in ("w.pth", "w.npz", "w.h5", "w.mat"):
        description = describe_file(tmp_path / name)
        check_common(description, tmp_path / name, description.kind)
        found[name] = (description.kind, description.facts["format"].split(";")[0], rows(description))
    assert found == {
        "w.pth": (
            "a PyTorch file (.pth)",
            "torch-fcn",
            [("score_fr.weight", "", [(2, 3, 1, 1)], 6), ("steps", "", [()], 1)],
        ),
        "w.npz": (
            "a NumPy archive (.npz)",
            "chainer-fcn",
            [("score_fr/W", "", [(2, 3, 1, 1)], 6), ("score_fr/b", "", [(2,)], 2)],
        ),
        "w.h5": ("a Keras file (.h5)", "keras-crfasrnn", [("score-fr/kernel", "", [(1, 1, 3, 2)], 6)]),
        "w.mat": ("a MATLAB file (.mat)", "matconvnet-fcn", [("score_fr/filter", "", [(1, 1, 3, 2)], 6)]),
    }
    np.savez(tmp_path / "w.npz", anything=bias)
    assert "not one that" in describe_file(tmp_path / "w.npz").facts["format"]


# ---- files that are nothing of the kind


@pytest.mark.parametrize(
    "content, error, words",
    [
        ("<!DOCTYPE html>\n<html>", WeightsError, "a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", WeightsError, "git-LFS pointer"),
        ("", WeightsError, "an empty file"),
        (b"PK\x03\x04" + b"\0" * 100, WeightsError, "damaged zip"),
        (b"\x1f\x8b" + b"\0" * 100, WeightsError, "this is a compressed archive, neither"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, WeightsError, "damaged HDF5"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\x01IM", WeightsError, "without MatConvNet's params"),
        (
            b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
            WeightsError,
            "this is an image, neither a prototxt nor weights",
        ),
        ("hello world", PrototxtError, ":1:"),
    ],
)
def test_other_files(tmp_path, content, error, words):
    path = write(tmp_path, "w", content)
    with pytest.raises(error) as caught:
        describe_file(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_truncated_files(tmp_path):
    path = tmp_path / "w.caffemodel"
    proto.write_caffemodel(path, proto.parse_net_param(DEPLOY), tiny_arrays())
    whole = path.read_bytes()
    for length in (3, 50, 500, len(whole) - 4, len(whole) - 1):
        with pytest.raises((WeightsError, PrototxtError)) as caught:
            describe_file(write(tmp_path, "w.caffemodel", whole[:length]))
        assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        describe_file(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="this is a folder"):
        describe_file(tmp_path)


# ---- the command


def test_command(tmp_path, command):
    path = write(tmp_path, "deploy.prototxt", DEPLOY)
    text, _ = command("inspect", path)
    assert "net V2" in text and "parameters: 1,426; 5 layers, 3 with parameters" in text
    assert "6x3x5x5, 6" in text and "fits: none" in text
    line = next(line for line in text.splitlines() if line.strip().startswith("again"))
    assert line.endswith("shared")
    found = json.loads(command("inspect", "--json", path)[0])
    assert found["parameters"] == 1426 and found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["layers"][4] == {
        "name": "fc",
        "type": "InnerProduct",
        "blobs": [[10, 96], [10]],
        "values": 970,
        "shared": False,
    }


def test_command_errors(tmp_path, command):
    stdout, stderr = command("inspect", write(tmp_path, "w", "<html>"), code=2)
    assert "a web page" in stderr and "Traceback" not in stderr and not stdout
    command("inspect", code=2)


def test_without_pytorch(tmp_path):
    """Python 3.8 beside BVLC Caffe has none: everything but a .pth is described all the same."""
    torch = pytest.importorskip("torch")
    proto.write_caffemodel(tmp_path / "w.caffemodel", proto.parse_net_param(DEPLOY), tiny_arrays())
    write(tmp_path, "net.prototxt", DEPLOY)
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from caffe_gp.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    expected = {
        "w.caffemodel": (0, "parameters: 1,426"),
        "net.prototxt": (0, "parameters: not known"),
        "w.pth": (EngineError.exit_code, "needs the Python package 'torch'"),
    }
    for name, (exit_code, words) in expected.items():
        command = [sys.executable, "-c", code, "inspect", str(tmp_path / name)]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == exit_code, result.stderr
        assert words in result.stdout + result.stderr


# ---- real files


@pytest.mark.parametrize(
    "name, version, parameters, models",
    [
        ("lenet_ethereon/examples/mnist/lenet_iter_10000.caffemodel", "V2", 431_080, ["lenet"]),
        ("cifar10_everpeace/examples/mnist/lenet_iter_10000.caffemodel", "V1", 431_080, ["lenet"]),
        ("cifar10_everpeace/examples/cifar10/cifar10_quick_iter_5000.caffemodel", "V1", 145_578, []),
        ("squeezenet_dc/squeezenet_decoded.caffemodel", "V2", 1_248_424, []),
    ],
)
def test_released_caffemodels(shared_data, name, version, parameters, models):
    """Counts as published for LeNet, Caffe's CIFAR-10 quick and SqueezeNet 1.0."""
    description = describe_file(shared_data / "caffemodels" / name)
    assert (description.kind, description.version) == ("caffemodel", version)
    assert description.parameters == parameters and description.models == models


def test_released_prototxts_and_mean(shared_data):
    folder = shared_data / "caffemodels"
    description = describe_file(folder / "squeezenet_dc" / "SqueezeNet_trainval.prototxt")
    assert description.parameters == 1_248_424
    solver = describe_file(folder / "cifar10_everpeace/examples/cifar10/cifar10_quick_solver.prototxt")
    assert solver.facts["base_lr"] == 0.001 and solver.facts["max_iter"] == 4000
    mean = describe_file(folder / "cifar10_simshang" / "mean.binaryproto")
    # The training images' means of blue, green and red... in the order of its LMDB, red first.
    np.testing.assert_allclose(mean.facts["mean of each channel"], [125.307, 122.950, 113.865], atol=0.01)
