"""Our Python layers for stock BVLC Caffe, on the engine that CAFFE_GP_ENGINE names, and their surgery."""

from __future__ import annotations

import json

import numpy as np
import pytest

from caffe_gp import GuidedPerturbation, engines, proto
from caffe_gp.errors import NetError, WeightsError
from caffe_gp.proto import messages as pb
from caffe_gp.surgery.prepare import prepare
from conformance.gp_nets import ENGINE
from tests.crfrnn_formula import mean_field

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def caffe():
    return engines.load_caffe(ENGINE)


def python_net(caffe, folder, layer: str, parameters: dict, shapes: dict):
    """A net of one Python layer, every input of which gets a diff."""
    net = pb.NetParameter(force_backward=True)
    for name, shape in shapes.items():
        net.layer.add(name=name, type="Input", top=[name], input_param={"shape": [{"dim": shape}]})
    module = "caffe_gp.python_layers.builtin"
    python_param = {"module": module, "layer": layer, "param_str": json.dumps(parameters)}
    net.layer.add(name="layer", type="Python", bottom=list(shapes), top=["top"], python_param=python_param)
    path = str(folder / "net.prototxt")
    proto.write_text(net, path)
    return caffe.Net(path, caffe.TEST)


def resampled(x: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Bilinear with aligned corners along one axis, by np.interp."""
    places = np.linspace(0, x.shape[axis] - 1, size) if size > 1 else np.zeros(1)
    return np.apply_along_axis(lambda line: np.interp(places, np.arange(len(line)), line), axis, x)


@pytest.mark.parametrize(
    ("parameters", "size", "crop"),
    (
        ({"zoom_factor": 8}, (49, 33), (0, 0)),
        ({"shrink_factor": 2}, (4, 3), (0, 0)),
        ({"shrink_factor": 3, "zoom_factor": 4}, (9, 5), (0, 0)),
        ({"height": 11, "width": 1}, (11, 1), (0, 0)),
        ({"zoom_factor": 1}, (7, 5), (0, 0)),
        ({"zoom_factor": 2, "pad_beg": -1, "pad_end": -2}, (7, 3), (1, 2)),
    ),
)
def test_interp(caffe, tmp_path, parameters: dict, size: tuple, crop: tuple) -> None:
    net = python_net(caffe, tmp_path, "InterpLayer", parameters, {"data": (2, 3, 7, 5)})
    rng = np.random.RandomState(0)
    x, dy = rng.randn(2, 3, 7, 5), rng.randn(2, 3, *size)
    net.blobs["data"].data[...] = x
    net.forward()
    inside = x[:, :, crop[0] : 7 - crop[1], crop[0] : 5 - crop[1]]
    expected = resampled(resampled(inside, 2, size[0]), 3, size[1])
    np.testing.assert_allclose(net.blobs["top"].data, expected, atol=1e-5)
    net.blobs["top"].diff[...] = dy
    net.backward()
    # The map is linear, so the adjoint identity determines the gradient.
    for probe in rng.randn(5, 2, 3, 7, 5):
        inside = probe[:, :, crop[0] : 7 - crop[1], crop[0] : 5 - crop[1]]
        there = (resampled(resampled(inside, 2, size[0]), 3, size[1]) * dy).sum()
        np.testing.assert_allclose((net.blobs["data"].diff * probe).sum(), there, rtol=1e-4, atol=1e-4)


def test_mean_field(caffe, tmp_path) -> None:
    """Forward and every diff: directional differences of the formula in float64."""
    parameters = {"num_iterations": 4, "theta_alpha": 5, "theta_beta": 8, "theta_gamma": 2}
    shapes = {"unary": (2, 4, 7, 6), "Q0": (2, 4, 7, 6), "image": (2, 3, 7, 6)}
    net = python_net(caffe, tmp_path, "MultiStageMeanfieldLayer", parameters, shapes)
    rng = np.random.RandomState(0)
    values = [rng.randn(*shapes["unary"]), rng.randn(*shapes["Q0"]), rng.randint(-30, 30, shapes["image"])]
    values += [rng.randn(4, 4) * 0.7 for _ in range(3)]
    for name, array in zip(shapes, values):
        net.blobs[name].data[...] = array
    for blob, array in zip(net.params["layer"], values[3:]):
        assert blob.data.shape == (1, 1, 4, 4)
        blob.data[...] = array
    values = [np.asarray(array, np.float32).astype(np.float64) for array in values]
    formula = mean_field(values[2], 4, 5, 8, 2)
    net.forward()
    expected = formula(*values)
    np.testing.assert_allclose(net.blobs["top"].data, expected, atol=1e-5 * np.abs(expected).max())
    dy = rng.randn(*shapes["unary"])
    net.blobs["top"].diff[...] = dy
    net.backward()
    diffs = [net.blobs["unary"].diff, net.blobs["Q0"].diff, None]
    diffs += [blob.diff for blob in net.params["layer"]]
    for i, diff in enumerate(diffs):
        if diff is None:
            assert not net.blobs["image"].diff.any()
            continue
        for direction in rng.randn(3, *values[i].shape):
            moved = [[*values[:i], values[i] + h * direction, *values[i + 1 :]] for h in (1e-5, -1e-5)]
            slope = ((formula(*moved[0]) - formula(*moved[1])) * dy).sum() / 2e-5
            found = (diff.reshape(direction.shape) * direction).sum()
            assert abs(found - slope) <= 1e-3 * np.linalg.norm(diff) * np.linalg.norm(direction)


@pytest.mark.parametrize(
    "order, whole", (((0, 2, 3, 1), (0, 2, 3, 1)), ((3, 1), (3, 1, 0, 2)), ((), (0, 1, 2, 3)))
)
def test_permute(caffe, tmp_path, order: tuple, whole: tuple) -> None:
    net = python_net(
        caffe, tmp_path, "PermuteLayer", {"order": order} if order else {}, {"data": (2, 3, 4, 5)}
    )
    rng = np.random.RandomState(0)
    x = rng.randn(2, 3, 4, 5).astype(np.float32)
    net.blobs["data"].data[...] = x
    net.forward()
    np.testing.assert_array_equal(net.blobs["top"].data, x.transpose(whole))
    dy = rng.randn(*net.blobs["top"].data.shape).astype(np.float32)
    net.blobs["top"].diff[...] = dy
    net.backward()
    np.testing.assert_array_equal(net.blobs["data"].diff.transpose(whole), dy)


@pytest.mark.parametrize("across", (True, False))
@pytest.mark.parametrize("shared", (True, False))
def test_normalize(caffe, tmp_path, across: bool, shared: bool) -> None:
    """Values; the gradient of an equal scale, times each channel's own in front, as SSD has it."""
    parameters = {"across_spatial": across, "channel_shared": shared, "scale_filler": {"value": 20.0}}
    net = python_net(caffe, tmp_path, "NormalizeLayer", parameters, {"data": (2, 3, 4, 5)})
    scale = net.params["layer"][0]
    assert scale.data.shape == (() if shared else (3,)) and (scale.data == 20).all()
    rng = np.random.RandomState(0)
    x, dy = rng.randn(2, 3, 4, 5), rng.randn(2, 3, 4, 5)
    scale.data[...] = s = np.float32(2) if shared else np.float32([2, -3, 0.5])
    s = s.reshape(1, -1, 1, 1)
    axes = (1, 2, 3) if across else (1,)

    def unit(v):
        return v / np.sqrt((v**2).sum(axes, keepdims=True))

    net.blobs["data"].data[...] = x
    net.forward()
    np.testing.assert_allclose(net.blobs["top"].data, s * unit(x), atol=1e-5)
    net.blobs["top"].diff[...] = dy
    net.backward()
    for direction in rng.randn(4, *x.shape):
        slope = ((unit(x + 1e-6 * direction) - unit(x - 1e-6 * direction)) * dy).sum() / 2e-6
        np.testing.assert_allclose(
            (net.blobs["data"].diff / s * direction).sum(), slope, rtol=1e-3, atol=1e-3
        )
    summed = (unit(x) * dy).sum((0, 1, 2, 3) if shared else (0, 2, 3))
    np.testing.assert_allclose(scale.diff, summed, rtol=1e-4, atol=1e-4)


def test_weights_before_training(caffe, tmp_path) -> None:
    parameters = {"num_iterations": 2, "spatial_filter_weight": 3, "bilateral_filter_weights_str": "1 2 3 4"}
    shapes = {"unary": (1, 4, 5, 5), "Q0": (1, 4, 5, 5), "image": (1, 3, 5, 5)}
    net = python_net(caffe, tmp_path, "MultiStageMeanfieldLayer", {**parameters, "learn": False}, shapes)
    for blob, diagonal in zip(net.params["layer"], (3 * np.ones(4), [1, 2, 3, 4], -np.ones(4))):
        np.testing.assert_array_equal(blob.data[0, 0], np.diag(diagonal))
    net.forward()
    net.blobs["top"].diff[...] = 1
    net.backward()
    assert net.blobs["unary"].diff.any() and not any(blob.diff.any() for blob in net.params["layer"])


# ---- the surgery

SSD = """
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "norm" type: "Normalize" bottom: "conv" top: "norm"
        norm_param { across_spatial: false channel_shared: false scale_filler { value: 20 } } }
layer { name: "last" type: "Permute" bottom: "norm" top: "last"
        permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "classes" type: "InnerProduct" bottom: "last" top: "classes"
        inner_product_param { num_output: 4 axis: 3 } }
layer { name: "score" type: "Permute" bottom: "classes" top: "score" permute_param { order: 0 order: 3 } }
"""


def ssd_files(tmp_path) -> tuple[str, str]:
    """The same with layers of SSD."""
    rng = np.random.RandomState(0)
    shapes = {"conv": [(6, 3, 3, 3), (6,)], "norm": [(6,)], "classes": [(4, 6), (4,)]}
    net = proto.parse_net_param(SSD)
    arrays = {name: [rng.randn(*s).astype(np.float32) for s in of] for name, of in shapes.items()}
    proto.write_text(net, str(tmp_path / "net.prototxt"))
    proto.write_caffemodel(str(tmp_path / "net.caffemodel"), net, arrays)
    return str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")


NET = """
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 33 dim: 25 } } }
layer { name: "half" type: "Interp" bottom: "data" top: "half" interp_param { shrink_factor: 2 } }
layer { name: "conv" type: "DepthwiseConvolution" bottom: "half" top: "conv"
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 3 } }
layer { name: "up" type: "Interp" bottom: "conv" top: "up" interp_param { zoom_factor: 2 } }
layer { name: "crf" type: "MultiStageMeanfield" bottom: "up" bottom: "up" bottom: "data" top: "pred"
        multi_stage_meanfield_param { num_iterations: 5 theta_alpha: 10 theta_beta: 9 theta_gamma: 3 } }
"""


def files(tmp_path) -> tuple[str, str]:
    """The net and weights for it, for the CRF's matrices too."""
    rng = np.random.RandomState(0)
    arrays = {
        "conv": [rng.randn(6, 1, 3, 3) * 0.01, rng.randn(6)],
        "crf": [np.eye(6)[None, None] * 2, np.eye(6)[None, None] * 3, rng.randn(1, 1, 6, 6) - 2 * np.eye(6)],
    }
    arrays = {name: [array.astype(np.float32) for array in blobs] for name, blobs in arrays.items()}
    net = proto.parse_net_param(NET)
    proto.write_text(net, str(tmp_path / "net.prototxt"))
    proto.write_caffemodel(str(tmp_path / "net.caffemodel"), net, arrays)
    return str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")


def test_forks_layers_are_replaced_for_bvlc() -> None:
    prepared = prepare(proto.parse_net_param(NET), engine="bvlc")
    kinds = [layer.type for layer in prepared.net.layer]
    assert kinds == ["Input", "Bias", "Python", "Convolution", "Python", "Python", "Softmax"]
    assert all(spec.lr_mult == 0 for layer in prepared.net.layer[2:] for spec in layer.param)
    told = " ".join(prepared.changes)
    assert "'crf': MultiStageMeanfield runs as our Python layer MultiStageMeanfieldLayer" in told
    assert "'conv': DepthwiseConvolution runs as Convolution" in told
    untouched = prepare(proto.parse_net_param(NET), engine="torch")
    assert [layer.type for layer in untouched.net.layer][3] == "DepthwiseConvolution"


def test_a_fork_s_layer_that_we_have_no_stand_in_for_is_refused() -> None:
    text = NET.replace('type: "DepthwiseConvolution"', 'type: "DenseCRF"')
    with pytest.raises(NetError, match="layer 'conv': stock BVLC Caffe has no layer type 'DenseCRF'"):
        prepare(proto.parse_net_param(text), engine="bvlc")


@pytest.mark.parametrize(("made", "score", "size"), ((files, "pred", (33, 25)), (ssd_files, "score", (9, 8))))
def test_the_stand_ins_compute_what_the_embedded_layers_compute(tmp_path, made, score, size) -> None:
    """One net and one weight file, forward, backward and labels, natively and as prepared for BVLC Caffe."""
    pytest.importorskip("torch", reason="the embedded Caffe needs torch")
    prototxt, caffemodel = made(tmp_path)
    stock = prepare(proto.read_net_param(prototxt), engine="bvlc").net
    proto.write_text(stock, str(tmp_path / "stock.prototxt"))
    image = np.random.RandomState(1).randn(1, 3, *size).astype(np.float32) * 40
    results, diffs = [], []
    for path in (prototxt, str(tmp_path / "stock.prototxt")):
        net = engines.load_net(path, caffemodel, engine="torch", score=score)
        results.append(GuidedPerturbation(net)(image, [0.5]))
        diffs.append(np.array(net.net.blobs["data"].diff))
    np.testing.assert_array_equal(results[0].base_labels, results[1].base_labels)
    np.testing.assert_array_equal(results[0].labels[0], results[1].labels[0])
    assert np.abs(diffs[0] - diffs[1]).max() <= 1e-4 * np.abs(diffs[0]).max()


def test_net_with_forks_layers_runs_on_this_engine(tmp_path) -> None:
    """The weights arrive in the stand-ins, and the scores follow the formulas."""
    prototxt, caffemodel = files(tmp_path)
    net = engines.load_net(prototxt, caffemodel, engine=ENGINE)
    with proto.read_weights(caffemodel) as weights:
        arrays = weights.as_dict()
    np.testing.assert_array_equal(net.net.params["crf"][2].data, arrays["crf"][2])
    image = np.random.RandomState(1).randn(1, 3, 33, 25).astype(np.float32) * 40
    result = GuidedPerturbation(net)(image, [0.0])
    up = np.array(net.net.blobs["up"].data, np.float64)
    conv = np.array(net.net.blobs["conv"].data, np.float64)
    np.testing.assert_allclose(up, resampled(resampled(conv, 2, 33), 3, 25), atol=1e-5)
    expected = mean_field(image, 5, 10, 9, 3)(up, up, None, *arrays["crf"])
    found = np.array(net.net.blobs["pred"].data)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    np.testing.assert_array_equal(result.base_labels, found.argmax(1))


# ---- NVIDIA's BatchNorm, and its files

NVIDIA = """
default_forward_type: FLOAT16
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 7 } } }
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" forward_type: FLOAT16
        batch_norm_param { scale_bias: true eps: 1e-7 use_global_stats: false engine: CUDNN } }
layer { name: "conv" type: "Convolution" bottom: "bn" top: "conv" cudnn_math_override: 1
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 conv_algos_override: "1,1,1" } }
layer { name: "bn2" type: "BatchNorm" bottom: "conv" top: "conv"
        batch_norm_param { scale_filler { value: 1 } bias_filler { value: 0 } } }
layer { name: "bn2_scale" type: "ReLU" bottom: "conv" top: "relu" }
layer { name: "score" type: "InnerProduct" bottom: "relu" top: "score"
        inner_product_param { num_output: 3 } }
"""


def nvidia_files(tmp_path) -> tuple[str, str, dict]:
    """The net, and half-precision weights, one BatchNorm in today's order and one in that of Caffe 0.15."""
    rng = np.random.RandomState(2)
    arrays = {
        "bn": [rng.randn(3), rng.rand(3) + 0.5, np.ones(1), rng.randn(3), rng.randn(3)],
        "conv": [rng.randn(4, 3, 3, 3), rng.randn(4)],
        "bn2": [rng.randn(4), rng.rand(4) + 0.5, np.ones(1), rng.randn(4), rng.randn(4)],
        "score": [rng.randn(3, 4 * 9 * 7) * 0.1, rng.randn(3)],
    }
    arrays = {name: [one.astype(np.float16) for one in blobs] for name, blobs in arrays.items()}
    order = {"bn2": [3, 4, 0, 1, 2]}
    net = proto.parse_net_param(NVIDIA)
    for layer in net.layer:
        for i in order.get(layer.name, range(len(arrays.get(layer.name, ())))):
            one = arrays[layer.name][i]
            blob = layer.blobs.add(raw_data=one.astype("<f2").tobytes(), raw_data_type=pb.FLOAT16)
            blob.shape.dim.extend(one.shape)
    (tmp_path / "nvidia.caffemodel").write_bytes(net.SerializeToString())
    (tmp_path / "nvidia.prototxt").write_text(NVIDIA)
    arrays = {name: [one.astype(np.float64) for one in blobs] for name, blobs in arrays.items()}
    return str(tmp_path / "nvidia.prototxt"), str(tmp_path / "nvidia.caffemodel"), arrays


def normalised(x: np.ndarray, mean, variance, correction, scale, bias) -> np.ndarray:
    mean, variance, scale, bias = (one.reshape(1, -1, 1, 1) for one in (mean, variance, scale, bias))
    return scale * (x - mean) / np.sqrt(variance + 1e-5) + bias


def test_nvidia_s_batch_norm_becomes_bvlc_s_two_layers() -> None:
    prepared = prepare(proto.parse_net_param(NVIDIA), engine="bvlc")
    kinds = [layer.type for layer in prepared.net.layer]
    expected = "Input Bias BatchNorm Scale Convolution BatchNorm Scale ReLU InnerProduct Softmax"
    assert kinds == expected.split()
    layers = {layer.name: layer for layer in prepared.net.layer}
    assert prepared.parts == {"bn_scale": "bn", "gp_bn2_scale": "bn2"}  # a layer of that name is there
    assert list(layers["gp_bn2_scale"].bottom) == list(layers["gp_bn2_scale"].top) == ["conv"]
    assert layers["bn"].batch_norm_param.eps == np.float32(1e-5) and len(layers["bn"].param) == 3
    assert not layers["bn"].batch_norm_param.HasField("use_global_stats")
    assert all(spec.lr_mult == 0 for layer in prepared.net.layer[2:] for spec in layer.param)
    told = " ".join(prepared.changes)
    assert "runs as BatchNorm and the Scale 'bn_scale', which takes the last two of its blobs" in told
    assert "layer 'conv': removed convolution_param.conv_algos_override, cudnn_math_override" in told
    text = proto.to_text(prepared.net)
    for foreign in ("scale_bias", "FLOAT16", "override", "CUDNN"):
        assert foreign not in text
    assert not prepare(proto.parse_net_param(NVIDIA), engine="torch").parts


def test_a_fork_s_field_that_changes_what_is_computed_is_refused() -> None:
    text = NVIDIA.replace("num_output: 4", "num_output: 4 relu: true")
    with pytest.raises(NetError, match="layer 'conv': stock BVLC Caffe has no field convolution_param.relu"):
        prepare(proto.parse_net_param(text), engine="bvlc")


def test_nvidia_s_net_runs_on_this_engine(tmp_path) -> None:
    """Scores and the diff at the image, by the formulas; the weights were half-precision, in two orders."""
    prototxt, caffemodel, arrays = nvidia_files(tmp_path)
    net = engines.load_net(prototxt, caffemodel, engine=ENGINE)
    image = np.random.RandomState(1).randn(1, 3, 9, 7).astype(np.float32)
    GuidedPerturbation(net)(image, [0.0])

    def scores(x: np.ndarray) -> np.ndarray:
        padded = np.pad(normalised(x, *arrays["bn"]), ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.stack([padded[:, :, i : i + 9, j : j + 7] for i in range(3) for j in range(3)], 2)
        kernel = arrays["conv"][0].reshape(4, 3, 9)
        conv = np.einsum("nckhw,ock->nohw", windows, kernel) + arrays["conv"][1].reshape(1, 4, 1, 1)
        relu = np.maximum(normalised(conv, *arrays["bn2"]), 0)
        return relu.reshape(1, -1) @ arrays["score"][0].T + arrays["score"][1]

    expected = scores(image.astype(np.float64))
    found = np.array(net.net.blobs["score"].data)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    signal = np.array(net.net.blobs["score"].diff, np.float64)
    diff = np.array(net.net.blobs["data"].diff, np.float64)
    for direction in np.random.RandomState(3).randn(3, *image.shape):
        slope = ((scores(image + 1e-6 * direction) - scores(image - 1e-6 * direction)) * signal).sum() / 2e-6
        assert abs((diff * direction).sum() - slope) <= 1e-3 * np.linalg.norm(diff) * np.linalg.norm(
            direction
        )


def test_half_precision_weights_go_into_a_net_of_either_engine(tmp_path, caffe) -> None:
    """Also by copy_from of a net in a session; a file of another net's shapes is refused with a word."""
    prototxt, caffemodel, arrays = nvidia_files(tmp_path)
    net = engines.load_net(prototxt, engine=ENGINE, allow_missing_weights=True)
    plain = proto.parse_net_param(NVIDIA)
    kept = [layer for layer in plain.layer if layer.type not in ("BatchNorm", "ReLU")]
    kept[1].bottom[0], kept[2].bottom[0] = "data", "conv"
    only = pb.NetParameter(layer=kept)
    proto.write_text(only, str(tmp_path / "plain.prototxt"))
    net = engines.load_net(str(tmp_path / "plain.prototxt"), engine=ENGINE)
    net.net.copy_from(caffemodel)
    np.testing.assert_array_equal(net.net.params["conv"][0].data, arrays["conv"][0])
    wrong = str(tmp_path / "wrong.prototxt")
    proto.write_text(only, wrong)
    text = (tmp_path / "wrong.prototxt").read_text().replace("num_output: 4", "num_output: 5")
    (tmp_path / "wrong.prototxt").write_text(text)
    with pytest.raises(WeightsError, match="conv.*4, 3, 3, 3"):
        engines.load_net(wrong, caffemodel, engine=ENGINE)


def test_a_batch_norm_of_another_kind_is_told(tmp_path) -> None:
    """Five blobs in the file and three in the net, and the other way round."""
    prototxt, caffemodel, _ = nvidia_files(tmp_path)
    plain = tmp_path / "plain.prototxt"
    plain.write_text(NVIDIA.replace("scale_bias: true", ""))
    with pytest.raises(WeightsError, match="write scale_bias: true in the layer's batch_norm_param"):
        engines.load_net(str(plain), caffemodel, engine=ENGINE)
    with proto.read_weights(caffemodel) as weights:
        arrays = weights.as_dict()
    arrays["bn"] = arrays["bn"][:3]
    proto.write_caffemodel(str(tmp_path / "three.caffemodel"), proto.parse_net_param(NVIDIA), arrays)
    words = "without the scale and bias" if ENGINE == "torch" else "no weights for layer.*bn_scale"
    with pytest.raises(WeightsError, match=words):
        engines.load_net(prototxt, str(tmp_path / "three.caffemodel"), engine=ENGINE)


def test_gp_of_a_net_with_layers_of_ssd_on_this_engine(tmp_path) -> None:
    """The labels are those of the formulas; a step of GP raises the confidence."""
    prototxt, caffemodel = ssd_files(tmp_path)
    net = engines.load_net(prototxt, caffemodel, engine=ENGINE)
    with proto.read_weights(caffemodel) as weights:
        arrays = weights.as_dict()
    image = np.random.RandomState(1).randn(1, 3, 9, 8).astype(np.float32) * 4
    result = GuidedPerturbation(net)(image, [0.0, 0.02])
    net.net.blobs["data"].data[...] = image
    net.net.forward()
    conv = np.array(net.net.blobs["conv"].data, np.float64)
    scale = arrays["norm"][0].reshape(1, 6, 1, 1)
    unit = conv / np.sqrt((conv**2).sum(1, keepdims=True)) * scale
    expected = np.einsum("kc,nchw->nkhw", arrays["classes"][0], unit) + arrays["classes"][1].reshape(
        1, 4, 1, 1
    )
    found = np.array(net.net.blobs["score"].data)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(result.base_labels, found.argmax(1))
    np.testing.assert_array_equal(result.labels[0], result.base_labels)
    assert result.confidence[1].mean() > result.base_confidence.mean()


@pytest.mark.parametrize("kind", ("PriorBox", "DetectionOutput", "ROIPooling", "Proposal", "Reorg"))
def test_other_layers_of_detectors_are_refused_for_bvlc(kind: str) -> None:
    text = SSD.replace('type: "Normalize"', f'type: "{kind}"')
    with pytest.raises(NetError, match=f"layer 'norm': stock BVLC Caffe has no layer type '{kind}'"):
        prepare(proto.parse_net_param(text), engine="bvlc", score="score")
