"""Weight files: byte-exact goldens from the wire format, every bad input, round trips, released files."""

from __future__ import annotations

import os
import struct

import h5py
import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.errors import WeightsError
from caffe_gp.proto import messages as pb
from caffe_gp.proto import wire
from caffe_gp.proto.load import MAX_FIELDS
from caffe_gp.proto.text import MAX_LAYERS
from caffe_gp.proto.weights import MAX_BLOBS, MAX_HISTORY


def f32(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def ld(number: int, payload: bytes) -> bytes:
    """A length-delimited field, tag and length as varints (numbers < 2048, lengths < 16384)."""
    tag, length = number << 3 | 2, len(payload)
    varint = lambda v: bytes([v]) if v < 128 else bytes([v & 127 | 128, v >> 7])  # noqa: E731
    return varint(tag) + varint(length) + payload


SHAPE_1_2 = ld(7, b"\x0a\x02\x01\x02")
V2_BLOB = ld(5, f32(1, 2)) + SHAPE_1_2


def v2(blob: bytes, name: bytes = b"conv1") -> bytes:
    return ld(100, ld(1, name) + ld(7, blob))


def read(tmp_path, data: bytes):
    path = tmp_path / "w.caffemodel"
    path.write_bytes(data)
    return proto.read_weights(path)


def error(tmp_path, data: bytes) -> str:
    with pytest.raises(WeightsError) as caught:
        read(tmp_path, data)
    assert str(tmp_path / "w.caffemodel") in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- reading, byte by byte

GOLDEN = bytes.fromhex(
    "0a03"
    "6e6574"  # name: "net"
    "a20629"  # layer, 41 bytes
    "0a02"
    "6970"  #   name: "ip"
    "1203"
    "466f6f"  #   type: "Foo"
    "3a14"  #   blobs, 20 bytes
    "2a0c"
    "0000803f"
    "000000c0"
    "0000003f"  #   data: 1, -2, 0.5 (packed)
    "3a04"
    "0a02"
    "0301"  #     shape { dim: 3 dim: 1 }
    "3a06"
    "2a04"
    "0000a040"  #   blobs { data: 5 } without a shape: a scalar
    "5001"  #   phase: TEST
)


def test_golden_caffemodel_reads(tmp_path):
    weights = read(tmp_path, GOLDEN)
    assert weights.format == "caffemodel V2" and weights.names == ["ip"] and len(weights) == 1
    ((name, (first, second)),) = weights
    assert (name, first.shape, second.shape, first.legacy) == ("ip", (3, 1), (), False)
    assert first.array().tolist() == [[1], [-2], [0.5]] and second.array() == 5
    destination = np.zeros((1, 3), np.float32)
    first.copy_to(destination)
    assert destination.tolist() == [[1, -2, 0.5]]


def test_golden_caffemodel_is_written_byte_for_byte(tmp_path):
    net = pb.NetParameter(name="net")
    net.layer.add(name="ip", type="Foo", phase=pb.TEST)
    proto.write_caffemodel(tmp_path / "out", net, {"ip": [np.array([[1], [-2], [0.5]]), np.float32(5)]})
    assert (tmp_path / "out").read_bytes() == GOLDEN


def test_v1_v0_and_mixed(tmp_path):
    legacy_blob = b"\x08\x01\x10\x01\x18\x01\x20\x02" + ld(5, f32(3, 4))
    v1_layer = ld(2, ld(2, b"data") + ld(4, b"conv1") + b"\x28\x04" + ld(6, legacy_blob))
    weights = read(tmp_path, v1_layer)
    ((name, (blob,)),) = weights
    assert (weights.format, name, blob.shape, blob.legacy) == ("caffemodel V1", "conv1", (1, 1, 1, 2), True)
    assert blob.array().ravel().tolist() == [3, 4]
    v0_layer = ld(2, ld(1, ld(1, b"fc") + ld(2, b"innerproduct") + ld(50, V2_BLOB)) + ld(2, b"x"))
    weights = read(tmp_path, v0_layer)
    assert weights.format == "caffemodel V0" and weights.names == ["fc"]
    assert weights.as_dict()["fc"][0].tolist() == [[1, 2]]
    # both kinds: Caffe's upgrade keeps the V1 ones
    assert read(tmp_path, v2(V2_BLOB, b"new") + v1_layer).names == ["conv1"]


def test_legacy_dims_win_over_shape(tmp_path):
    blob = b"\x08\x01\x10\x01\x18\x02\x20\x01" + V2_BLOB
    ((_, (only,)),) = read(tmp_path, v2(blob))
    assert only.shape == (1, 1, 2, 1) and only.legacy


def test_which_shapes_fit():
    """Caffe's Blob::ShapeEquals: ones in front only for a shape given as num, channels, height, width."""
    legacy = proto.WeightBlob((1, 1, 3, 2), True, "a blob")
    assert [shape for shape in [(3, 2), (1, 3, 2), (1, 1, 3, 2)] if not legacy.fits(shape)] == []
    assert not any(legacy.fits(shape) for shape in [(), (6,), (2, 3), (3, 2, 1, 1), (1, 1, 1, 3, 2)])
    today = proto.WeightBlob((1, 1, 3, 2), False, "a blob")
    assert today.fits((1, 1, 3, 2)) and not today.fits((3, 2))
    assert proto.WeightBlob((1, 1, 1, 1), True, "a blob").fits(())
    assert proto.WeightBlob((), False, "a blob").fits(())


@pytest.mark.parametrize(
    "blob, expected",
    [
        (b"\x2d" + f32(1) + b"\x2d" + f32(2) + SHAPE_1_2, [1, 2]),  # unpacked floats
        (SHAPE_1_2 + ld(5, f32(1)) + ld(5, f32(2)), [1, 2]),  # two packed chunks
        (b"\x2d" + f32(1) + SHAPE_1_2 + ld(5, f32(2)), [1, 2]),  # one of each
        (ld(8, struct.pack("<2d", 0.1, 2)) + SHAPE_1_2, [np.float32(0.1), 2]),  # double_data
        (
            ld(5, f32(9)) + b"\x41" + struct.pack("<d", 7) + b"\x41" + struct.pack("<d", 8) + SHAPE_1_2,
            [7, 8],
        ),  # double_data wins
        (ld(7, b"\x08\x01\x08\x02") + ld(5, f32(1, 2)), [1, 2]),  # unpacked dims
        (ld(7, b"\x0a\x01\x01") + ld(7, b"\x0a\x01\x02") + ld(5, f32(1, 2)), [1, 2]),  # a shape in two parts
        (V2_BLOB + ld(6, f32(5, 5)) + ld(99, b"??"), [1, 2]),  # a diff, an unknown field
    ],
)
def test_every_way_to_write_a_blob(tmp_path, blob, expected):
    ((_, (only,)),) = read(tmp_path, v2(blob))
    assert only.shape == (1, 2) and only.array().tolist() == [expected]
    assert pb.BlobProto.FromString(blob).shape.dim[:] == [1, 2]  # protobuf reads the same bytes


def test_long_runs_of_unpacked_values(tmp_path):
    n = (1 << 20) + 7  # more than one scan chunk
    values = np.arange(n, dtype="<f4")
    raw = np.empty((n, 5), np.uint8)
    raw[:, 0] = 0x2D
    raw[:, 1:] = values.view(np.uint8).reshape(n, 4)
    net = pb.NetParameter()
    net.layer.add(name="a").blobs.add().shape.dim.append(n)
    blob = net.layer[0].blobs[0].SerializeToString() + raw.tobytes()
    body = b"\x0a\x01a\x3a" + _varint(len(blob)) + blob
    ((_, (only,)),) = read(tmp_path, b"\xa2\x06" + _varint(len(body)) + body)
    assert np.array_equal(only.array(), values)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def test_short_runs_of_unpacked_values_cost_little(tmp_path, monkeypatch):
    looked = []
    frombuffer = np.frombuffer

    def counted(buffer, dtype, count, offset):
        looked.append(count)
        return frombuffer(buffer, dtype, count, offset)

    n = 5000
    data = (b"\x2d" + struct.pack("<f", 1) + b"\x92\x03\x00") * n  # a value, then an empty field 50
    entry = wire.scan_blob(data + blob_shape(n), 0, len(data + blob_shape(n)))
    assert entry.shape == (n,)
    monkeypatch.setattr(np, "frombuffer", counted)
    wire.scan_blob(data + blob_shape(n), 0, len(data + blob_shape(n)))
    assert sum(looked) <= 100 * n


def blob_shape(n):
    return pb.BlobProto(shape=pb.BlobShape(dim=[n])).SerializeToString()


def test_views_survive_closing(tmp_path):
    weights = read(tmp_path, GOLDEN)
    view = next(iter(weights))[1][0].array()
    assert not view.flags.writeable
    weights.close()
    assert view.ravel().tolist() == [1, -2, 0.5]


# ---------------------------------------------------------------- bad input


def test_truncated_at_every_byte(tmp_path):
    for end in range(1, len(GOLDEN)):
        if end in (5,):  # only the net's name: a whole message, but no layer
            assert "no layers" in error(tmp_path, GOLDEN[:end])
        else:
            error(tmp_path, GOLDEN[:end])
    assert "truncated" in error(tmp_path, GOLDEN[:30])


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git-LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n\n<html>\xe2\x80\x94", "web page"),
        (b'name: "LeNet"\nlayer {\n}\n', "this is a net's prototxt"),
        (b"PK\x03\x04\0\0", "archive"),
        (b"\x1f\x8b\x08\0", "archive"),
        (b"\x08\x01\x10\x03" + ld(5, f32(1)), "this is a mean image"),
        (b"\x0e\x01", "byte offset 0: invalid wire type 6"),
        (ld(1, b"n") + b"\xa7\x06", "byte offset 3: invalid wire"),
        (b"\x00\x01", "invalid field number 0"),
        (b"\xff" * 12, "varint"),
        (ld(1, b"net"), "no layers"),
        (b"\xa2\x06\xff\xff\xff\xff\x0f" + b"x" * 99, "truncated"),
        (b"\xa0\x06\x05", "invalid wire type 0 for a layer"),
        (ld(100, b"\x08\x05"), "name"),
        (ld(100, ld(1, b"a") + b"\x38\x01"), "a blob of layer 'a'"),
    ],
)
def test_files_that_are_no_caffemodel(tmp_path, data, says):
    assert says in error(tmp_path, data)


def test_bad_blobs_name_layer_blob_and_numbers(tmp_path):
    def message(blob: bytes) -> str:
        text = error(tmp_path, v2(blob))
        assert "layer 'conv1', blob 0" in text
        return text

    text = message(ld(5, f32(1, 2, 3)) + SHAPE_1_2)
    assert "(1, 2)" in text and "needs 2 values; found 3" in text
    assert "no data" in message(SHAPE_1_2)
    assert "only a diff" in message(SHAPE_1_2 + ld(6, f32(1, 2)))
    assert "missing" in message(ld(5, f32(1, 2)))
    assert "negative" in message(ld(7, ld(1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")))
    big = b"\x80\x80\x80\x80\x08"  # 2^31
    assert "limit" in message(ld(7, ld(1, big)) + ld(5, f32(1)))
    assert "limit" in message(ld(7, ld(1, big * 8)) + ld(5, f32(1)))  # the product wraps in 64 bits
    assert "limit" in message(b"\x08\x80\x80\x40\x10\x80\x80\x40\x18\x01\x20\x01")  # legacy, 2^40
    assert "axes" in message(ld(7, ld(1, b"\x01" * 33)) + ld(5, f32(1)))
    assert "multiple of 4" in message(ld(5, b"abcde") + SHAPE_1_2)
    assert "invalid wire type" in message(b"\x28\x05" + SHAPE_1_2)
    assert "invalid wire type" in message(b"\x0d" + f32(1))
    assert "byte offset" in message(b"\x2d\x01")
    assert "byte offset" in message(ld(5, f32(1)) + b"\x2a\x08" + f32(1))


@pytest.mark.parametrize(
    "data, says",
    [
        (b"\xa2\x06\x00" * (MAX_LAYERS + 1), f"more than {MAX_LAYERS} layers"),
        (b"\xf8\x06\0" * (MAX_FIELDS + 1), f"more than {MAX_FIELDS} fields"),
        (ld(100, b"\xf8\x06\0" * 5_000) * (MAX_FIELDS // 5_000), f"more than {MAX_FIELDS} fields"),
        (ld(100, b"\x3a\0" * (MAX_BLOBS + 1)), f"more than {MAX_BLOBS} blobs"),
        (ld(100, ld(7, ld(7, ld(1, bytes(10_000))))), "more than 32 axes"),
    ],
    ids=["layers", "fields", "fields_of_layers", "blobs", "axes"],
)
def test_more_of_something_than_any_net_has(tmp_path, data, says):
    """Each costs some time and memory: a file of a few MB would take minutes and GBs."""
    assert says in error(tmp_path, data)


def test_a_solver_with_more_history_than_any(tmp_path):
    path = tmp_path / "n.solverstate"
    path.write_bytes(ld(3, ld(7, ld(1, b"\0"))) * (MAX_HISTORY + 1))
    with pytest.raises(WeightsError, match="blobs of history"):
        proto.read_solverstate(path)


def test_missing_files_and_sizes(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        proto.read_weights(tmp_path / "none")
    with pytest.raises(WeightsError, match="cannot be read"):
        proto.read_weights(tmp_path)
    path = tmp_path / "sparse"
    with open(path, "wb") as stream:
        stream.write(b"\x0a\x01a")
        stream.truncate(2**31)
    with pytest.raises(WeightsError, match="2 GiB"):
        proto.read_weights(path)


def test_copying_into_the_wrong_destination(tmp_path):
    blob = next(iter(read(tmp_path, GOLDEN)))[1][0]
    with pytest.raises(WeightsError, match=r"layer 'ip', blob 0: has shape \(3, 1\).*\(4,\)"):
        blob.copy_to(np.zeros(4, np.float32))
    for bad in (np.zeros(3), np.zeros(6, np.float32)[::2]):
        with pytest.raises(WeightsError, match="float32"):
            blob.copy_to(bad)


# ---------------------------------------------------------------- writing


def net_with(**layers) -> pb.NetParameter:
    net = pb.NetParameter(name="n")
    for name, kind in layers.items():
        net.layer.add(name=name, type=kind)
    return net


def test_caffemodel_round_trip_through_protobuf(tmp_path):
    net = proto.parse_net_param("""
        name: "n" force_backward: true state { phase: TEST }
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
        layer { name: "a" type: "Convolution" bottom: "data" top: "a" loss_weight: 0.5 param { lr_mult: 2 }
                blobs { data: 7 } include { phase: TEST } propagate_down: false
                convolution_param { num_output: 2 weight_filler { type: "xavier" } }
                interp_param { height: 3 } image_data_param { source: "s" label_type: NONE } }
        layer { name: "b" type: "BN" bn_param { bn_mode: INFERENCE } }
    """)
    rng = np.random.RandomState(0)
    arrays = {
        "a": [rng.randn(2, 3, 1, 1), rng.randn(2).astype(np.float32)[::-1]],
        "b": [np.zeros((0, 4)), np.ones(())],
    }
    diffs = {"a": [rng.randn(2, 3, 1, 1), rng.randn(2)]}
    path = tmp_path / "w.caffemodel"
    proto.write_caffemodel(path, net, arrays, diffs)
    message = pb.NetParameter.FromString(path.read_bytes())
    assert message.SerializeToString() == path.read_bytes()  # protobuf's own order, sizes and packing
    assert message.name == "n" and not message.HasField("state") and not message.force_backward
    assert [layer.name for layer in message.layer] == ["data", "a", "b"]
    layer = message.layer[1]
    assert layer.convolution_param == net.layer[1].convolution_param and layer.loss_weight[:] == [0.5]
    assert not layer.HasField("interp_param") and layer.image_data_param.source == "s"
    assert not layer.image_data_param.HasField("label_type")  # a number BVLC may use for something else
    assert not message.layer[2].HasField("bn_param")
    assert np.array_equal(np.float32(layer.blobs[0].data), arrays["a"][0].ravel().astype(np.float32))
    assert np.array_equal(np.float32(layer.blobs[0].diff), diffs["a"][0].ravel().astype(np.float32))
    with proto.read_weights(path) as weights:
        back = weights.as_dict()
    for name in arrays:
        for mine, theirs in zip(arrays[name], back[name]):
            assert theirs.shape == mine.shape and np.array_equal(theirs, mine.astype(np.float32))
    assert os.listdir(str(tmp_path)) == ["w.caffemodel"]


@pytest.mark.parametrize("write", [proto.write_caffemodel, proto.write_hdf5])
def test_writing_refuses_what_does_not_fit(tmp_path, write):
    net = net_with(a="ReLU", b="ReLU")
    net.layer.add(name="a")
    for arrays, says in (
        ({"x": [np.ones(1)]}, "no layer"),
        ({"a": [np.ones(1)]}, "2 layers"),
        ({"b": [np.array(["text"])]}, "numbers"),
    ):
        with pytest.raises(WeightsError, match=says):
            write(tmp_path / "w", net, arrays)
    with pytest.raises(WeightsError, match="cannot be written"):
        write(tmp_path / "no" / "folder", net, {"b": [np.ones(1)]})
    assert os.listdir(str(tmp_path)) == []


def test_writing_more_than_two_gigabytes(tmp_path):
    huge = np.broadcast_to(np.float32(0), (2**29,))
    with pytest.raises(WeightsError, match="HDF5"):
        proto.write_caffemodel(tmp_path / "w", net_with(a="X"), {"a": [huge]})


def test_hdf5_layout_and_round_trip(tmp_path):
    path = tmp_path / "w.caffemodel.h5"
    arrays = {"conv1": [np.arange(6.0).reshape(1, 2, 3), np.float32([9])], "inception/1x1": [np.ones((2, 2))]}
    net = net_with(conv1="Convolution", relu="ReLU", **{"inception/1x1": "Convolution"})
    proto.write_hdf5(path, net, arrays, diffs={"conv1": [np.zeros((1, 2, 3)), np.ones(1)]})
    with h5py.File(str(path), "r") as archive:
        assert archive["data/conv1/0"].dtype == np.float32 and archive["data/conv1/0"].shape == (1, 2, 3)
        assert list(archive["data/relu"]) == [] and archive["diff/conv1/1"][0] == 1
    with proto.read_weights(path) as weights:
        assert weights.format == "hdf5" and set(weights.names) == {"conv1", "relu", "inception/1x1"}
        back = weights.as_dict()
    assert np.array_equal(back["conv1"][0], arrays["conv1"][0]) and back["conv1"][1].tolist() == [9]
    assert np.array_equal(back["inception/1x1"][0], np.ones((2, 2)))
    assert os.listdir(str(tmp_path)) == ["w.caffemodel.h5"]


def test_hdf5_is_written_only_as_far_as_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("caffe_gp.proto.save.MAX_OBJECTS", 5)
    path, net = tmp_path / "many.caffemodel.h5", net_with(a="X", b="Y")
    proto.write_hdf5(path, net, {"a": [np.ones(1)] * 2})
    with pytest.raises(WeightsError, match="would hold 6 groups and data sets; at most 5"):
        proto.write_hdf5(path, net, {"a": [np.ones(1)] * 3})


def test_hdf5_doubles_gaps_and_scalars(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(str(path), "w") as archive:
        archive["data/a/1"] = np.array([0.1, 0.2])  # blob 0 belongs to another layer
        archive["data/b/0"] = 3.5
    with proto.read_weights(path) as weights:
        layers = dict(iter(weights))
        assert layers["a"][0] is None and np.array_equal(layers["a"][1].array(), np.float32([0.1, 0.2]))
        assert layers["b"][0].array() == 3.5


def test_bad_hdf5(tmp_path):
    path = tmp_path / "w.h5"

    def message(build) -> str:
        with h5py.File(str(path), "w") as archive:
            build(archive)
        with pytest.raises(WeightsError) as caught:
            proto.read_weights(path)
        return str(caught.value)

    assert "group 'data'" in message(lambda archive: archive.create_group("weights"))
    assert "group 'data'" in message(lambda archive: archive.create_dataset("data", data=[1.0]))
    assert "layer 'a', blob 0" in message(lambda a: a.create_dataset("data/a/0", data=np.array([1, 2])))
    assert "'kernel'" in message(lambda a: a.create_dataset("data/a/kernel", data=[1.0]))
    assert "no data" in message(lambda a: a.create_dataset("data/a/0", shape=(3,), dtype="f4"))

    def circle(archive):
        group = archive.create_group("data/a")
        group["again"] = group

    assert "twice" in message(circle)
    proto.write_hdf5(path, net_with(a="X"), {"a": [np.ones(1000)]})
    whole = path.read_bytes()
    for end in (8, 20, 100, 1000, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(WeightsError):
            proto.read_weights(path).as_dict()


def test_mean_file_round_trip(tmp_path):
    path = tmp_path / "mean.binaryproto"
    mean = np.random.RandomState(0).rand(1, 3, 4, 5).astype(np.float32)
    proto.write_blob(path, mean)
    message = pb.BlobProto.FromString(path.read_bytes())
    assert (message.num, message.channels, message.height, message.width) == (1, 3, 4, 5)
    assert message.SerializeToString() == path.read_bytes()
    assert np.array_equal(proto.read_blob(path), mean)
    proto.write_blob(path, mean[0, 0])
    assert proto.read_blob(path).shape == (4, 5)
    path.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="web page"):
        proto.read_blob(path)


def test_solverstate_round_trip(tmp_path):
    path = tmp_path / "s.solverstate"
    proto.write_solverstate(path, 300, "net_iter_300.caffemodel", 2, [np.ones((2, 3)), np.zeros(4)])
    message = pb.SolverState.FromString(path.read_bytes())
    assert (message.iter, message.learned_net, message.current_step) == (300, "net_iter_300.caffemodel", 2)
    assert message.SerializeToString() == path.read_bytes()
    with proto.read_solverstate(path) as state:
        assert (state.iter, state.learned_net, state.current_step) == (300, "net_iter_300.caffemodel", 2)
        assert [blob.shape for blob in state.history] == [(2, 3), (4,)]
        assert np.array_equal(state.history[0].array(), np.ones((2, 3)))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(WeightsError):
        proto.read_solverstate(path)


# ---------------------------------------------------------------- released files

RELEASED = [  # file, format, layers, values; values as published for the nets or counted by protobuf
    ("caffemodels/lenet_ethereon/examples/mnist/lenet_iter_10000.caffemodel", "caffemodel V2", 9, 431080),
    ("caffemodels/cifar10_everpeace/examples/mnist/lenet_iter_10000.caffemodel", "caffemodel V1", 9, 431080),
    (
        "caffemodels/cifar10_everpeace/examples/cifar10/cifar10_full_iter_70000.caffemodel",
        "caffemodel V1",
        14,
        89578,
    ),
    ("caffemodels/cifar10_simshang/cifar10_quick_iter_5000.caffemodel", "caffemodel V2", 13, 145578),
    ("caffemodels/squeezenet_dc/squeezenet_decoded.caffemodel", "caffemodel V2", 65, 1248424),
    (
        "caffemodels/enet_cityscapes_wanggao/caffe-app/caffe-enet/model/cityscapes_weights.caffemodel",
        "caffemodel V2",
        348,
        376351,
    ),
    ("caffe_voc/mnv2_dm05_257/weights.caffemodel", "caffemodel V2", 119, 693082),
]


@pytest.mark.parametrize("name, format, layers, values", RELEASED)
def test_released_weights_equal_what_protobuf_parses(shared_data, name, format, layers, values):
    path = shared_data / name
    message = pb.NetParameter.FromString(path.read_bytes())
    with proto.read_weights(path) as weights:
        assert (weights.format, len(weights)) == (format, layers)
        total = 0
        for (layer_name, blobs), theirs in zip(weights, message.layer or message.layers):
            assert layer_name == theirs.name and len(blobs) == len(theirs.blobs)
            for blob, other in zip(blobs, theirs.blobs):
                legacy = other.HasField("num")
                shape = (other.num, other.channels, other.height, other.width)
                shape = shape if legacy else tuple(other.shape.dim)
                assert (blob.shape, blob.legacy) == (shape, legacy)
                copied = np.empty(blob.count, np.float32)
                blob.copy_to(copied)
                assert np.array_equal(copied, np.array(other.data, np.float32), equal_nan=True)
                total += blob.count
        assert total == values


def test_released_mean(shared_data):
    path = shared_data / "caffemodels/cifar10_simshang/mean.binaryproto"
    mean = proto.read_blob(path)
    assert mean.shape == (1, 3, 32, 32)
    assert mean.ravel().tolist() == list(pb.BlobProto.FromString(path.read_bytes()).data)
