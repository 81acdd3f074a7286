"""Reading prototxt text: what is accepted, and what every bad input is told."""

from __future__ import annotations

import os
import re

import pytest

from caffe_gp import proto
from caffe_gp.errors import NetError, PrototxtError
from caffe_gp.files.atomic import write_atomically
from caffe_gp.proto import messages as pb
from caffe_gp.proto import text as proto_text
from caffe_gp.proto.text import MAX_LAYERS, MAX_LINES, MAX_STRING, MAX_WORDS, decode_text

CONV = 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 } }'


def message_of(text: str, **kwargs) -> str:
    with pytest.raises(PrototxtError) as caught:
        proto.parse_net_param(text, "net.prototxt", **kwargs)
    return str(caught.value)


def test_syntax_that_caffe_accepts():
    net = proto.parse_net_param("""
        # a comment with an apostrophe: don't stop, and a ${VARIABLE} in it
        name: 'a' "b"
        layer: { name: "x", type: 'Input'; top: "data" input_param: { shape: { dim: 1 dim: 3, dim: 0x10
                dim: 5 } } }
        layer < name: "r" type: "ReLU" relu_param < negative_slope: 1e-1f engine: CAFFE > >
        layer { name: "p" type: "Pooling" pooling_param { pool: 1 global_pooling: True }
                propagate_down: [true, 0] }
    """)
    assert net.name == "ab"
    assert list(net.layer[0].input_param.shape[0].dim) == [1, 3, 16, 5]
    assert net.layer[1].relu_param.negative_slope == pytest.approx(0.1)
    assert net.layer[2].pooling_param.pool == pb.PoolingParameter.AVE
    assert list(net.layer[2].propagate_down) == [True, False]


def test_unknown_field_names_line_column_and_near_names():
    message = message_of('name: "n"\nlayer {\n  name: "c"\n  convolutional_param { num_output: 2 }\n}')
    assert message.startswith(
        "net.prototxt:4:3: layer 'c': LayerParameter has no field named 'convolutional_param'"
    )
    assert "'convolution_param'" in message


@pytest.mark.parametrize(
    "line, fork",
    [
        ("domain_transform_param { }", "DeepLab"),
        ("correlation_param { }", "FlowNet"),
        ("unpooling_param { unpool: MAX }", "DeconvNet"),
        ("crop_center_param { crop_size: 1 }", "waifu2x"),
        ("transform_param { resize_param { } }", "SSD"),
    ],
)
def test_unknown_field_of_a_known_fork(line, fork):
    """The layer is named, in front of the field and behind it, and what to do."""
    message = message_of(f'layer {{\n  name: "x"\n  {line}\n}}\nlayer {{ name: "y" }}')
    assert message.startswith("net.prototxt:3:") and ": layer 'x': " in message and fork in message
    assert "fork" in message and "--score" in message and "nearest" not in message
    message = message_of(f'layer {{ name: "y" }} layer {{ {line} name: "x" }} layer {{ name: "z" }}')
    assert ": layer 'x': " in message


def test_unknown_enum_value():
    message = message_of("layers {\n type: CONVOLUTIONS\n}")
    assert message.startswith("net.prototxt:2:") and "'CONVOLUTION'" in message and "LayerType" in message


@pytest.mark.parametrize(
    "text, where",
    [
        ("layer {\n name: \n}", "net.prototxt:3:1"),
        ('layer {\n name: "a"', "net.prototxt:"),
        ('name: "a"\nname: "b"', "net.prototxt:2:"),
        ("layer { name: 3 }", "net.prototxt:1:"),
        ('layer { top: "unclosed\n }', "net.prototxt:1:"),
        ("}", "net.prototxt:1:1"),
        ("force_backward: maybe", "net.prototxt:1:"),
        ("input_dim: 99999999999", "net.prototxt:"),
        ("layer { clip_param { min: 1 } }", "net.prototxt:"),
    ],
)
def test_syntax_errors_say_where(text, where):
    assert message_of(text).startswith(where)


def test_deep_nesting_is_an_error_not_a_crash():
    assert "net.prototxt" in message_of("layer { " * 100000)
    assert "net.prototxt" in message_of("x { " * 100000)


def test_mixed_dialects():
    message = message_of(CONV + '\nlayers { name: "d" type: RELU bottom: "c" top: "c" }')
    assert "mixes" in message
    assert "'layer' first in line 1" in message and "'layers' first in line 2" in message


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (b"<!DOCTYPE html>\n<html>", "web page"),
        (b"\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git-LFS pointer"),
        (b"\n\x05LeNet\xa2\x06\x1d\n\x05conv1", "binary"),
        (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
    ],
)
def test_files_that_are_no_prototxt(tmp_path, data, says):
    path = tmp_path / "net.prototxt"
    path.write_bytes(data)
    with pytest.raises(PrototxtError, match=says) as caught:
        proto.read_net_param(path)
    assert str(path) in str(caught.value)


def test_too_big_a_file(tmp_path):
    path = tmp_path / "big.prototxt"
    with open(path, "wb") as stream:
        stream.truncate(proto_text.MAX_TEXT_BYTES + 1)
    with pytest.raises(PrototxtError, match="too big"):
        proto.read_net_param(path)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.prototxt", tmp_path):
        with pytest.raises(PrototxtError, match="cannot be read"):
            proto.read_net_param(path)


def test_encodings(tmp_path):
    path = tmp_path / "n.prototxt"
    path.write_bytes(b'\xef\xbb\xbfname: "bom"')
    assert proto.read_net_param(path).name == "bom"
    path.write_bytes(b'# \xd6\xd0\xce\xc4 (GBK)\r\nname: "gbk"\r\n')
    assert proto.read_net_param(path).name == "gbk"


def test_template_variables(monkeypatch):
    monkeypatch.setenv("BATCH", "5")  # the environment is nobody's business
    text = 'name: "v${VERSION}" # ${NOTSET}\ninput: "data" input_shape { dim: ${BATCH} dim: 1 }'
    net = proto.parse_net_param(text, defines={"VERSION": 7, "BATCH": 4})
    assert net.name == "v7" and list(net.layer[0].input_param.shape[0].dim) == [4, 1]


def test_template_variables_without_a_value(monkeypatch):
    monkeypatch.setenv("EXP", "secret")
    text = (
        'name: "${NET_ID}"\n'
        'layer { name: "d" type: "ImageSegData" top: "data" image_data_param { source: "${DATA_ROOT}/l" } }\n'
        'layer { name: "fc8_${EXP}" type: "Convolution" bottom: "data" top: "fc8_${EXP}"\n'
        "  convolution_param { num_output: ${NUM_LABELS} kernel_size: 1 } }\n"
    )
    number = message_of(text)
    assert number.startswith("net.prototxt:4:35: the template variable ${NUM_LABELS} has no value")
    assert number.endswith("without a value in this file: DATA_ROOT, EXP, NET_ID, NUM_LABELS")
    name = message_of(text, defines={"NUM_LABELS": 21})
    assert name.startswith("net.prototxt: layer or blob 'fc8_${EXP}': the template variable ${EXP} has no")
    assert name.endswith("without a value in this file: DATA_ROOT, EXP, NET_ID")
    # What only the data layer reads may stay.
    net = proto.parse_net_param(text, defines={"NUM_LABELS": 21, "EXP": "voc12"})
    assert net.layer[1].name == "fc8_voc12" and net.layer[1].convolution_param.num_output == 21
    assert net.layer[0].image_data_param.source == "${DATA_ROOT}/l"
    # A solver's paths are all read.
    with pytest.raises(PrototxtError, match="NET_ID"):
        proto.parse_solver_param('net: "${NET_ID}/train.prototxt"')


def test_write_text_round_trip_and_atomic(tmp_path):
    net = proto.parse_net_param('name: "\\303\\251" ' + CONV)
    path = tmp_path / "out.prototxt"
    proto.write_text(net, path)
    assert proto.read_net_param(path) == net
    assert os.listdir(str(tmp_path)) == ["out.prototxt"]
    assert os.stat(str(path)).st_mode & 0o777 == 0o666 & ~_umask()


def test_write_atomically_keeps_the_old_file(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def fail(stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old" and os.listdir(str(tmp_path)) == ["f"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


REAL = [  # file, layers after the upgrade, type of the first
    ("caffemodels/cifar10_everpeace/examples/mnist/lenet.prototxt", 9, "Input"),
    ("caffemodels/cifar10_everpeace/examples/mnist/lenet_train_test.prototxt", 11, "Data"),
    ("caffemodels/cifar10_everpeace/examples/cifar10/cifar10_full_train_test.prototxt", 16, "Data"),
    ("caffemodels/cifar10_simshang/cifar10_quick.prototxt", 13, "Input"),
    ("caffemodels/squeezenet_dc/SqueezeNet_deploy.prototxt", 66, "Input"),
    ("caffemodels/enet_timosaemann/prototxts/enet_deploy_final.prototxt", 210, "Input"),
    ("caffemodels/enet_timosaemann/prototxts/enet_train_encoder_decoder.prototxt", 322, "DenseImageData"),
    (
        "caffemodels/enet_cityscapes_wanggao/caffe-app/caffe-enet/model/enet_deploy_final.prototxt",
        None,
        "Input",
    ),
    ("caffemodels/lane_tusimple_eric612/models/tusimple/mobilenet_yolov3_lite_deploy.prototxt", 83, "Input"),
    ("caffe_voc/mnv2_dm05_257/deploy.prototxt", 108, "Input"),
]


@pytest.mark.parametrize("name, layers, first", REAL)
def test_released_prototxts(shared_data, name, layers, first):
    net = proto.read_net_param(shared_data / name)
    assert net.layer[0].type == first
    assert layers is None or len(net.layer) == layers
    assert not net.layers and not net.input
    assert proto.parse_net_param(proto.to_text(net)) == net


def test_released_solver(shared_data):
    path = shared_data / "caffemodels/cifar10_everpeace/examples/mnist/lenet_solver.prototxt"
    solver = proto.read_solver_param(path)
    assert (solver.base_lr, solver.lr_policy, solver.max_iter) == (pytest.approx(0.01), "inv", 10000)
    assert list(solver.test_iter) == [100]


RELU = 'layer { name: "one" type: "ReLU" bottom: "x" top: "y" }\n'


@pytest.mark.parametrize(
    "text, says",
    [
        ("layer {\n insanity_param { low: 1 } name: 'two' }", "3:2: layer 'two': .* from another fork"),
        ("layer { name: 'two' correlation_param { } }", "layer 'two': .*fork of Caffe: FlowNet"),
        (
            f"layer {{ name: 'two'\n{RELU}",
            "3:1: layer 'two': a '}' is missing: 'layer' .* 'layer {' of line 2",
        ),
        (
            "layer {\n # {\n relu_param {",
            "a '}' is missing: the file ends.*'layer {' of line 2, 'relu_param {' of line 4",
        ),
        ("}", "2:1: this '}' closes nothing"),
        (
            r'layer { name: "two" data_param { source: "C:\Users\me" } }',
            r"layer 'two': a backslash .*write / in paths",
        ),
        (
            'layers { name: "two" type: "InnerProduct" }',
            "without quotes, like type: INNER_PRODUCT; or write 'layer {'",
        ),
        ("layer { name: 'two' type: INNER_PRODUCT }", 'in quotes: type: "InnerProduct" \\(INNER_PRODUCT is'),
        ("layer { name: 'two' pooling_param { pool: 'MAX' } }", "written without quotes: MAX"),
        *(
            (
                f"layer {{ name: 'two' input_param {{ shape {{ dim: {mark} dim: 3 }} }} }}",
                f"'{re.escape(mark)}' is a pl",
            )
            for mark in ("$#n#$", "{{ n }}", "{% n %}", "$N", "<N>", "%d", "%(n)s", "@N@", "__N__")
        ),
    ],
)
def test_what_to_write_instead(text, says):
    assert re.search(says, message_of(RELU + text)), message_of(RELU + text)


def test_an_error_at_the_end_of_a_long_file_takes_no_longer_than_reading_it():
    """Each step looks at a character once; a step that tried each place anew would not end here."""
    for piece in ("a", "{", "'", '"', "#", "$ ", "name "):
        message_of("layer { " + piece * 300_000)


MB = 1 << 20


@pytest.mark.parametrize(
    "text",
    [
        "name: '${A}'\n" + '\\"' * (MB // 2),
        "${" * (MB // 2),
        'name: "' + "${" * (MB // 2) + '"',
        "layer" + " " * MB + "x",
        "layer" + " " * MB + "\n{ name: 'a' } layers { name: 'b' type: RELU }",
        "net" + " " * MB + "x",
        "bogus {" * (MB // 7),
        "a" * MB,
    ],
    ids=["quotes", "open", "in a string", "white space", "two dialects", "solver", "braces", "word"],
)
def test_a_megabyte_is_read_once(text):  # each took minutes where a search started anew at every character
    try:
        proto.parse_net_param(text, "net.prototxt")
    except PrototxtError as error:
        assert len(str(error)) < 2000
    decode_text(text.encode(), "net.prototxt")


@pytest.mark.parametrize(
    "text, says",
    [
        ("layer { } layers: <>" * (MAX_LAYERS // 2 + 1), f"more than {MAX_LAYERS} layers and inputs"),
        ("layer # what stands between\n{ }" * (MAX_LAYERS + 1), f"more than {MAX_LAYERS} layers and inputs"),
        ("input: 'a' " * (MAX_LAYERS + 1), f"more than {MAX_LAYERS} layers and inputs"),
        ("input_dim:1 " * (MAX_WORDS // 2 + 1), "more than 200000 words"),
        ("name:" + "'a'" * MAX_WORDS, "more than 200000 words"),
        ("#\n" * (MAX_WORDS + 1), "more than 200000 words"),
        ("\n" * (MAX_LINES + 1), "more than 1000000 lines"),
        ("\nname: '" + r"\377" * (MAX_STRING // 4 + 1) + "'", ":2: a string of more than 65536 char"),
    ],
    ids=["layers", "comments_in_layers", "inputs", "fields", "strings", "comments", "lines", "string"],
)
@pytest.mark.parametrize("parse", [proto.parse_net_param, proto.parse_solver_param])
def test_more_of_something_than_any_net_has(parse, text, says):
    with pytest.raises(PrototxtError, match=f"net.prototxt.*{says}"):
        parse(text, "net.prototxt")


def test_words_in_strings_and_comments_are_no_layers():
    text = f"name: '{'layer {} ' * 5000}' # {'input ' * (MAX_LAYERS + 1)}"
    assert not proto.parse_net_param(text).layer


def test_numbers_and_names_have_limits():
    for text in ('name: "{}"', 'name: "a" bottom: "{}"', 'name: "a" top: "{}"'):
        proto.parse_net_param("layer { type: 'X' " + text.replace("{}", "n" * 1000) + " }")
        with pytest.raises(NetError, match="'n{40}...' has 1001 characters"):
            proto.parse_net_param("layer { type: 'X' " + text.replace("{}", "n" * 1001) + " }")
