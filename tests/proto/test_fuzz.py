"""Damaged files of every kind: a CaffeGPError or a readable result, never another exception."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.errors import CaffeGPError, PrototxtError, WeightsError
from caffe_gp.proto import messages as pb

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

QUIET = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def _net_text() -> str:
    return """
name: "fuzz" # comment
input: "data" input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 5
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "gaussian" std: 0.01 } } }
layers { layer { name: "pool" type: "pool" kernelsize: 2 } bottom: "conv" top: "pool" }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "pool" bottom: "data" include { phase: TRAIN } }
"""


def _model() -> bytes:
    net = pb.NetParameter(name="fuzz")
    v2 = net.layer.add(name="conv", type="Convolution")
    v2.blobs.add(data=[1, 2, 3, 4]).shape.dim.extend([2, 2])
    v2.blobs.add(data=[1, 2], num=1, channels=1, height=1, width=2)
    v2.blobs.add(double_data=[1, 2, 3]).shape.dim.append(3)
    v1 = net.layers.add(name="old", type=4)
    v1.blobs.add(data=[5]).shape.dim.append(1)
    v1.layer.blobs.add(data=[5]).shape.dim.append(1)
    return net.SerializeToString()


@st.composite
def damaged(draw, whole: bytes):
    """``whole`` with some bytes flipped, removed or inserted, then perhaps cut."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        action = draw(st.sampled_from(["flip", "set", "drop", "insert"]))
        if action == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif action == "set":
            data[at] = draw(st.integers(0, 255))
        elif action == "drop":
            del data[at : at + draw(st.integers(1, 8))]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        if not data:
            break
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def read_bytes(reader, data: bytes):
    """Write ``data`` to a file, read it with ``reader``; a CaffeGPError is a fine answer."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "f")
        with open(path, "wb") as stream:
            stream.write(data)
        try:
            return reader(path)
        except CaffeGPError as error:
            assert path in str(error) or "layer" in str(error)
            return None


def load(path: str):
    with proto.read_weights(path) as weights:
        for _, blobs in weights:
            for blob in blobs:
                array = np.empty(blob.count, np.float32)
                blob.copy_to(array)
        return weights.names


@QUIET
@given(damaged(_model()))
def test_damaged_caffemodels(data):
    read_bytes(load, data)


@QUIET
@given(st.binary(max_size=200))
def test_random_bytes_as_weights_solverstate_and_mean(data):
    read_bytes(load, data)
    read_bytes(lambda path: proto.read_solverstate(path).close(), data)
    read_bytes(proto.read_blob, data)


@QUIET
@given(damaged(_net_text().encode()))
def test_damaged_prototxts(data):
    read_bytes(lambda path: proto.filter_net(proto.read_net_param(path), pb.TEST), data)


@QUIET
@given(st.text(max_size=200))
def test_random_text_as_net_and_solver(text):
    for parse in (proto.parse_net_param, proto.parse_solver_param):
        try:
            parse(text)
        except PrototxtError:
            pass


@QUIET
@given(damaged(_model()))
def test_what_both_read_is_the_same(data):
    """Where protobuf accepts the damaged bytes and so do we, the values are equal."""
    names = read_bytes(load, data)
    if names is None:
        return
    try:
        message = pb.NetParameter.FromString(data)
    except Exception:  # protobuf also rejects what we do not look at, such as a bad UTF-8 name
        return
    v1 = [layer.layer.name if layer.HasField("layer") else layer.name for layer in message.layers]
    assert names == (v1 if message.layers else [layer.name for layer in message.layer])


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(200, 4000),
)
def test_damaged_hdf5(changes, end):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "w.h5")
        net = pb.NetParameter()
        net.layer.add(name="a")
        proto.write_hdf5(path, net, {"a": [np.arange(100.0), np.ones((3, 3))]})
        with open(path, "rb") as stream:
            data = bytearray(stream.read())
        for at, value in changes:
            if 8 <= at < len(data):
                data[at] = value
        with open(path, "wb") as stream:
            stream.write(data[:end] if end % 2 else data)
        try:
            load(path)
        except WeightsError as error:
            assert path in str(error)
