"""Layer types of users: the documented example, guided perturbations through it, what is refused."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from caffe_gp import GuidedPerturbation, caffe, engines, proto
from caffe_gp.caffe.layers import registry
from caffe_gp.errors import NetError, PrototxtError, UnknownLayerTypeError, UsageError
from caffe_gp.proto import forks, own_fields
from caffe_gp.proto import messages as pb
from caffe_gp.surgery.prepare import prepare
from conformance.folders import ROOT

PAGE = (ROOT / "docs/layers_of_your_own.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def registry_as_before():
    before = dict(registry._REGISTRY)
    yield
    registry._REGISTRY.clear()
    registry._REGISTRY.update(before)


@pytest.fixture(scope="module")
def documented(registry_as_before):
    """The page's first example, as a reader would run it."""
    code = re.search(r"```python\n(.*?)```", PAGE, re.S).group(1)
    assert code.count("\n") <= 24
    names: dict = {}
    exec(compile(code, "docs/layers_of_your_own.md", "exec"), names)
    return names["SoftClip"]


LAYER = re.search(r"```\n(layer .*?)```", PAGE, re.S).group(1)
NET = f"""
layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: 8 dim: 6 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 weight_filler {{ type: "gaussian" }} }} }}
{LAYER}
layer {{ name: "score" type: "Convolution" bottom: "clip" top: "score"
        convolution_param {{ num_output: 5 kernel_size: 1 weight_filler {{ type: "gaussian" }} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "score" top: "prob" }}
"""


def file(tmp_path, text: str = NET, name: str = "net.prototxt") -> str:
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def test_the_documented_layer_computes(documented, tmp_path):
    """In a net: forward by its formula, backward by finite differences, its parameter from the prototxt."""
    assert "SoftClip" in caffe.layer_type_list()
    net = caffe.Net(file(tmp_path), caffe.TEST)
    assert type(net.layer_dict["clip"]) is documented and net.layer_dict["clip"].param.limit == 3
    x = np.random.RandomState(0).randn(1, 3, 8, 6)
    net.blobs["data"].data[...] = x
    net.forward()
    np.testing.assert_allclose(
        net.blobs["clip"].data, 3 * np.tanh(net.blobs["conv"].data / 3), rtol=1e-6, atol=1e-6
    )
    text = NET.replace("soft_clip_param { limit: 3 }", "")
    assert caffe.Net(file(tmp_path, text), caffe.TEST).layer_dict["clip"].param.limit == 1  # its default


def test_guided_perturbations_go_through_it(documented, tmp_path):
    net = engines.load_net(file(tmp_path))
    random = np.random.RandomState(0)
    for blobs in net.net.params.values():
        for blob in blobs:
            blob.data[...] = 0.4 * random.randn(*blob.data.shape)
    net.net.params[net.prepared.probe][0].data[...] = 0
    image = np.random.RandomState(1).randn(1, 3, 8, 6).astype(np.float32)
    result = GuidedPerturbation(net)(image, [0.0, 0.01], keep_probabilities=True)
    blobs = net.net.blobs
    signal, diff = blobs["score"].diff.copy(), blobs["data"].diff.copy()
    assert signal.any() and diff.any()
    w, b = (np.float64(blob.data) for blob in net.net.params["conv"])
    v, c = (np.float64(blob.data) for blob in net.net.params["score"])

    def scores(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.stack([padded[:, :, i : i + 8, j : j + 6] for i in range(3) for j in range(3)], 2)
        conv = np.einsum("nckhw,ock->nohw", windows, w.reshape(4, 3, 9)) + b.reshape(1, -1, 1, 1)
        clip = 3 * np.tanh(conv / 3)
        return np.einsum("nchw,oc->nohw", clip, v.reshape(5, 4)) + c.reshape(1, -1, 1, 1)

    for direction in np.random.RandomState(2).randn(3, *image.shape):
        slope = (scores(image + 1e-6 * direction) - scores(image - 1e-6 * direction)) / 2e-6
        found = (diff * direction).sum()
        assert abs((slope * signal).sum() - found) <= 1e-3 * np.linalg.norm(diff) * np.linalg.norm(direction)
    moved = scores(image + np.float32(0.01) * np.sign(diff))
    exponents = np.exp(moved - moved.max(1, keepdims=True))
    np.testing.assert_allclose(
        result.probabilities[1], exponents / exponents.sum(1, keepdims=True), atol=1e-4
    )
    assert (result.probabilities[1].max(1) >= result.base_probabilities.max(1) - 1e-3).mean() > 0.9


def test_weights_prepared_nets_and_specifications(documented, tmp_path):
    """Saved and loaded; written and read; in another process's hands; from NetSpec; beside older messages."""
    older = proto.parse_net_param('layer { name: "a" type: "ReLU" }')
    path = file(tmp_path)
    net = caffe.Net(path, caffe.TEST)
    net.save(str(tmp_path / "w.caffemodel"))
    again = caffe.Net(path, str(tmp_path / "w.caffemodel"), caffe.TEST)
    assert np.array_equal(again.params["conv"][0].data, net.params["conv"][0].data)
    stored = pb.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    assert not any(field.is_extension for layer in stored.layer for field, _ in layer.ListFields())
    prepared = engines.load_net(path).prepared
    copied = pickle.loads(pickle.dumps(prepared))
    assert copied.net == prepared.net and "soft_clip_param { limit: 3.0 }" in proto.to_text(copied.net)
    assert proto.parse_net_param(proto.to_text(copied.net)) == copied.net
    n = caffe.NetSpec()
    n.data = caffe.layers.Input(shape={"dim": [1, 3, 2, 2]})
    n.one = caffe.layers.SoftClip(n.data, limit=2)
    n.two = caffe.layers.SoftClip(n.one, soft_clip_param={"limit": 4})
    made = n.to_proto()
    assert [own_fields.value(layer, "soft_clip_param").limit for layer in made.layer[1:]] == [2, 4]
    assert caffe.Net(file(tmp_path, proto.to_text(made)), caffe.TEST).layers[2].param.limit == 4
    with pytest.raises(AttributeError, match="no parameter 'limits'; did you mean limit"):
        n.three = caffe.layers.SoftClip(n.two, limits=2)
        n.to_proto()
    older.layer[0].CopyFrom(made.layer[1])  # classes are those of before
    assert own_fields.value(older.layer[0], "soft_clip_param").limit == 2


@pytest.mark.parametrize(
    "line, says",
    [
        ("soft_clip_param { limits: 3 }", r"net.prototxt:{}:21: layer 'clip': SoftClipParameter has no field "
                                          "named 'limits'. nearest known fields: 'limit'"),
        ('soft_clip_param { limit: "x" }', r"net.prototxt:{}:28: layer 'clip': Couldn't parse float"),
        ("soft_clip_parm { limit: 3 }", "no field named 'soft_clip_parm'.*nearest .*'soft_clip_param'"),
        ("soft_clip_param { limit: 3 } relu_parm { }", r"net.prototxt:{}:32: layer 'clip': .*'relu_parm'"),
    ],
)  # fmt: skip
def test_errors_in_the_prototxt(documented, tmp_path, line, says):
    text = NET.replace("soft_clip_param { limit: 3 }", line)
    number = next(i for i, one in enumerate(text.splitlines(), 1) if line in one)
    with pytest.raises(PrototxtError, match=says.format(number)):
        caffe.Net(file(tmp_path, text), caffe.TEST)


def test_errors_in_the_layer(documented, tmp_path):
    """As those of a layer of type "Python": prototxt, layer, file and line; the exception is the cause."""
    with pytest.raises(NetError) as caught:
        caffe.Net(file(tmp_path, NET.replace("limit: 3", "limit: -1")), caffe.TEST)
    message = str(caught.value)
    assert "net.prototxt: layer 'clip' (SoftClip): docs/layers_of_your_own.md:" in message
    assert "ValueError: limit must be positive, found -1.0 (in setup)" in message
    assert isinstance(caught.value.__cause__, ValueError)

    @caffe.register_layer("BreaksLater")
    class BreaksLater(caffe.Layer):
        def reshape(self, bottom, top):
            top[0].reshape(*bottom[0].data.shape)

        def forward(self, bottom, top):
            raise RuntimeError(f"told {self.param_str}")

    text = NET.replace('type: "SoftClip"', 'type: "BreaksLater"').replace(
        "soft_clip_param { limit: 3 }", 'python_param { param_str: "so" }'
    )
    net = caffe.Net(file(tmp_path, "force_backward: true" + text), caffe.TEST)
    with pytest.raises(NetError, match=r"layer 'clip' \(BreaksLater\): .*_layer.py:\d+: .*told so"):
        net.forward()
    with pytest.raises(NetError, match="has no method backward"):
        net.backward()


def test_what_a_prototxt_may_hold():
    """Every kind of field; and the name elsewhere, in strings, comments and other messages."""

    @caffe.register_layer("Blend", blend_param="""
        enum Mode ADD=0 SCREEN=1
        1 mode Mode = ADD; 2 weight float*          # one a bottom
        3 weight_filler FillerParameter; 4 name string!; 5 data bytes; 6 big int64 = -1; 7 exact double
    """)  # fmt: skip
    class Blend(caffe.Layer):
        pass

    text = """
        # blend_param { }
        layer { name: "blend_param" type: "Blend" bottom: 'blend_param {' top: "x"
          blend_param: { mode: SCREEN weight: 1 weight: 2.5 weight_filler { type: "xavier" } name: "a" } }
        layer < name: "b" blend_param < name: "layer { blend_param { }" data: "\\x00" exact: 0.1 > >
    """
    net = proto.parse_net_param(text)
    first, second = (own_fields.value(layer, "blend_param") for layer in net.layer)
    assert first.mode == first.SCREEN and list(first.weight) == [1, 2.5]
    assert first.weight_filler.type == "xavier" and second.data == b"\0" and second.exact == 0.1
    assert proto.parse_net_param(proto.to_text(net)) == net
    solver = proto.parse_solver_param('net_param { layer { name: "c" blend_param { name: "d" } } }')
    assert own_fields.value(solver.net_param.layer[0], "blend_param").name == "d"
    with pytest.raises(PrototxtError, match="required but missing.*blend_param.*name"):
        proto.parse_net_param('layer { name: "c" blend_param { } }')


def test_a_fork_s_type_has_its_own_message(tmp_path):
    """The fields are read already; only the type is missing."""
    text = NET.replace(LAYER, 'layer { name: "clip" type: "Correlation" bottom: "conv" top: "clip" '
                              "correlation_param { pad: 20 } }")  # fmt: skip
    with pytest.raises(UnknownLayerTypeError, match="FlowNet 2.*register_layer"):
        caffe.Net(file(tmp_path, text), caffe.TEST)

    @caffe.register_layer("Correlation")
    class Correlation(caffe.Layer):
        def reshape(self, bottom, top):
            top[0].reshape(*bottom[0].data.shape)

    net = caffe.Net(file(tmp_path, text), caffe.TEST)
    assert net.layer_dict["clip"].param.pad == 20 and net.layer_dict["clip"].param.stride_1 == 1


def register(name: str = "Fresh", base: type = caffe.Layer, **parameters: str):
    return caffe.register_layer(name, **parameters)(type("Fresh", (base,), {}))


@pytest.mark.parametrize(
    "arguments, says",
    [
        ({"name": "SoftClip"}, "'SoftClip' is registered already, by SoftClip"),
        ({"name": "Convolution"}, "there is a layer type 'Convolution' already"),
        ({"name": "Python"}, "there is a layer type 'Python' already"),
        ({"name": "My Layer"}, "a layer type is a name, like 'Gain'; found 'My Layer'"),
        ({"name": ""}, "a layer type is a name"),
        ({"base": object}, "does not derive from caffe_gp.caffe.Layer"),
        ({"soft_clip_param": "1 a float"}, "the field 'soft_clip_param' is layer type 'SoftClip''s"),
        (
            {"relu_param": "1 a float"},
            "'relu_param' already: take another name, or .*self.layer_param.relu_param",
        ),
        ({"correlation_param": "1 a float"}, "'correlation_param' already"),
        ({"phase": "1 a float"}, "is named like 'gain_param', not 'phase'"),
        ({"a_param": "1 a float", "b_param": "1 a float"}, "one field has its parameters, not 2"),
        (
            {"a_param": "a float"},
            "a_param cannot have these fields: cannot read 'a float'. A field is 'number",
        ),
        ({"a_param": "1 a number"}, "couldn't resolve name '.caffe.number'"),
        ({"a_param": "1 a float; 1 b float"}, "number"),
        ({"a_param": "1 a float; 2 a float"}, "a_param cannot have these fields"),
        ({"a_param": "1 a float = much"}, "much"),
        ({"a_param": "0 a float"}, "a_param cannot have these fields"),
        ({"a_param": "enum Kind A B"}, "a_param cannot have these fields"),
    ],
)
def test_what_is_refused(documented, arguments, says):
    """And nothing of it stays: the same name is free afterwards."""
    with pytest.raises(UsageError, match=says):
        register(**arguments)
    assert "Fresh" not in caffe.layer_type_list() and "a_param" not in own_fields.names()


def test_a_class_has_one_type(documented):
    with pytest.raises(UsageError, match="the class SoftClip has a type already"):
        caffe.register_layer("SecondClip")(documented)
    assert documented.type == "SoftClip" and "SecondClip" not in caffe.layer_type_list()


def test_types_that_are_registered_are_not_bvlc_s(documented, tmp_path):
    net = proto.read_net_param(file(tmp_path))
    with pytest.raises(NetError, match="stock BVLC Caffe has no layer type 'SoftClip'"):
        prepare(net, engine="bvlc")
    assert forks.foreign_names(net) == ["SoftClip", "soft_clip_param"]
    assert registry.own_parameters(net.layer[2]).limit == 3
