"""Written prototxts: they read back as what they were written from, and look as people write them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_gp import proto
from caffe_gp.proto import messages as pb
from tests.proto.random_messages import fill


def test_what_it_looks_like():
    net = pb.NetParameter(name="a")
    layer = net.layer.add(name="c", type="Convolution", bottom=["data"], top=["c"])
    layer.param.add(lr_mult=1)
    layer.param.add(lr_mult=2, decay_mult=0)
    layer.convolution_param.num_output = 64
    layer.convolution_param.kernel_size.append(3)
    layer.convolution_param.weight_filler.type = "xavier"
    net.layer.add(name="r", type="ReLU", bottom=["c"], top=["c"]).relu_param.SetInParent()
    net.state.phase = pb.TEST
    assert proto.to_text(net) == (
        'name: "a"\n'
        "state { phase: TEST }\n"
        "layer {\n"
        '  name: "c"\n'
        '  type: "Convolution"\n'
        '  bottom: "data"\n'
        '  top: "c"\n'
        "  param { lr_mult: 1.0 }\n"
        "  param { lr_mult: 2.0 decay_mult: 0.0 }\n"
        "  convolution_param {\n"
        "    num_output: 64\n"
        "    kernel_size: 3\n"
        '    weight_filler { type: "xavier" }\n'
        "  }\n"
        "}\n"
        "layer {\n"
        '  name: "r"\n'
        '  type: "ReLU"\n'
        '  bottom: "c"\n'
        '  top: "c"\n'
        "  relu_param { }\n"
        "}\n"
    )


def test_long_messages_and_layers_without_messages_keep_their_lines():
    net = pb.NetParameter()
    net.layer.add(name="d", type="HDF5Data").hdf5_data_param.source = "x" * 110
    net.layer.add(name="s", type="Split")
    assert proto.to_text(net).count("\n") == 4 + 3 + 1 + 3
    assert proto.to_text(pb.NetParameter()) == ""


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", ["NetParameter", "SolverParameter"])
def test_random_messages_read_back(kind, seed):
    message = fill(pb.MESSAGES[kind](), np.random.RandomState(seed))
    text = proto.to_text(message)
    assert text_format.Parse(text, pb.MESSAGES[kind](), descriptor_pool=pb.POOL) == message
    plain = text_format.MessageToString(message, as_utf8=True)
    assert re.sub(r"\s+", " ", text).strip() == re.sub(r"\s+", " ", plain).strip()
    assert all(len(line) <= 110 for line in text.split("\n") if line.endswith("}"))


def test_all_prototxts_read_back(project_root):
    paths = sorted((project_root / "prototxt").glob("*/*.prototxt"))
    assert len(paths) > 20
    for path in paths:
        solver = path.name == "solver.prototxt"
        read, parse = (
            (proto.read_solver_param, proto.parse_solver_param)
            if solver
            else (proto.read_net_param, proto.parse_net_param)
        )
        message = read(path)
        assert parse(proto.to_text(message)) == message
