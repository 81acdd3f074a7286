"""HDF5 files from elsewhere: what h5py reads of honest ones, a sentence for each trick."""

from __future__ import annotations

import os
import zlib

import h5py
import numpy as np
import pytest

from caffe_gp.caffe.solver_state import read_state
from caffe_gp.errors import DataError, WeightsError
from caffe_gp.files.hdf5 import ALWAYS_ALLOWED, Hdf5Error, Hdf5File
from caffe_gp.models.convert.archives import open_archive
from caffe_gp.proto import read_weights
from caffe_gp.runs.row_files import RowFiles

LAYOUTS = (
    {},
    {"chunks": (4, 4)},
    {"chunks": (4, 4), "maxshape": (None, 7)},
    {"chunks": (4, 4), "compression": "gzip"},
    {"chunks": (4, 4), "compression": "gzip", "shuffle": True},
    {"chunks": (16, 8), "maxshape": (None, None), "shuffle": True},
)


def short_chunk(group, name, shape=(20, 1000), stored=b"\x3f" * 64, **how):
    """A data set in one chunk, whose stored bytes unpack to fewer than it has."""
    made = group.create_dataset(name, shape, "f4", chunks=shape, compression="gzip", **how)
    made.id.write_direct_chunk((0,) * len(shape), zlib.compress(stored))


def external(group, name, shape=(4,), of="/etc/hostname"):
    group.create_dataset(name, shape, "f4", external=[(of, 0, 4 * int(np.prod(shape)))])


def virtual(group, name, shape=(4,)):
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource("elsewhere.h5", "x", shape)
    group.create_virtual_dataset(name, layout)


def soft_link(group, name):
    group.file["real"] = np.ones(4, np.float32)
    group[name] = h5py.SoftLink("/real")


def external_link(group, name, file="pipe"):
    group[name] = h5py.ExternalLink(file, "/x")


def unwritten(group, name):
    made = group.create_dataset(name, (8,), "f4", chunks=(4,))
    made[:4] = 1


def huge(group, name):
    short_chunk(group, name, (1 << 20, 1 << 6))


def bomb(group, name):
    """Honest, but 300 MB of zeros."""
    short_chunk(group, name, (75, 1 << 20), bytes(300 << 20))


def checksum(group, name):
    group.create_dataset(name, data=np.ones(4, np.float32), fletcher32=True)


TRICKS = {
    short_chunk: "a chunk of 64 bytes; its shape .20, 1000. takes 80000",
    huge: "claim to be 268435456; at most",
    bomb: "claim to be 314572800; at most",
    external: "external storage",
    virtual: "virtual data set",
    soft_link: "a link to elsewhere",
    external_link: "a link to elsewhere",
    unwritten: "not allocated",
    checksum: "other filters than gzip",
}
every_trick = pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__)


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i8", "u1"])
def test_reads_what_h5py_reads(tmp_path, dtype):
    values = (np.random.RandomState(0).rand(10, 7) * 100).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i, layout in enumerate(LAYOUTS):
            file.create_dataset(f"group/{i}", data=values, **layout)
        file["group/scalar"], file["group/empty"] = values[0, 0], values[:0]
        file["text"] = np.array(b"abc", "S4")
    with Hdf5File(tmp_path / "a.h5") as ours, h5py.File(tmp_path / "a.h5", "r") as theirs:
        for name, item in ours.walk(ours.child(ours.root, "group")):
            read = ours.values(item)
            expected = theirs[f"group/{name}"][()]
            assert read.dtype == expected.dtype and np.array_equal(read, expected)
        assert ours.values(ours.child(ours.root, "text"), "S").item() == b"abc"
        assert ours.child(ours.root, "nothing") is None


@every_trick
def test_weights(tmp_path, trick):
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "w.caffemodel.h5"
    with h5py.File(path, "w") as file:
        trick(file.create_group("data/conv"), "0")
    with pytest.raises(WeightsError, match=TRICKS[trick]) as caught, read_weights(path) as weights:
        weights.as_dict()
    assert str(path) in str(caught.value)


@every_trick
def test_keras(tmp_path, trick):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"conv"])
        trick(file.create_group("conv/conv"), "kernel:0")
    with pytest.raises(WeightsError, match=TRICKS[trick]), open_archive(path) as archive:
        archive.array("conv/kernel")


@every_trick
def test_solver_states(tmp_path, trick):
    path = str(tmp_path / "s.solverstate.h5")
    with h5py.File(path, "w") as file:
        file["iter"], file["current_step"], file["learned_net"] = 1, 0, np.array(b"x", "S2")
        trick(file.create_group("history"), "0")
    with pytest.raises(WeightsError, match=TRICKS[trick]):
        read_state(path)


def test_groups_that_are_links(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "w.h5"
    for link in (h5py.ExternalLink("pipe", "/"), h5py.SoftLink("/other")):
        with h5py.File(path, "w") as file:
            file["data"] = link
        with pytest.raises(WeightsError, match="'data' is a link to elsewhere"):
            read_weights(path)
    with h5py.File(path, "w") as file:
        file["model_weights"] = link
    with pytest.raises(WeightsError, match="'model_weights' is a link to elsewhere"):
        open_archive(path)


def test_rows_of_a_run(tmp_path):
    with h5py.File(tmp_path / "1.h5", "w") as file:
        external(file, "rows")
    with pytest.raises(DataError, match="external storage"):
        RowFiles(tmp_path, 4, np.float32)


def test_many_links_to_one_group_are_no_tree(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("g")
        for name in "abc":
            group[name] = group
    with Hdf5File(tmp_path / "a.h5") as file, pytest.raises(Hdf5Error, match="twice"):
        list(file.walk(file.root))


def linked_history(file):
    """One data set under many names."""
    file["iter"], file["current_step"], file["history/0"] = 1, 0, np.ones(1000, np.float32)
    for index in range(1, 30):
        file[f"history/{index}"] = file["history/0"]


def test_one_data_set_under_many_names(tmp_path):
    path = str(tmp_path / "s.solverstate.h5")
    with h5py.File(path, "w") as file:
        linked_history(file)
    with pytest.raises(WeightsError, match="'1' is there twice"):
        read_state(path)


def test_an_object_may_be_read_again(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(1000)
    with Hdf5File(tmp_path / "a.h5") as file:
        for _ in range(3):
            assert file.values(file.child(file.root, "x"))[-1] == 999


def many_chunks(file):
    file.create_dataset("data/conv/0", data=np.ones(30, np.float32), chunks=(1,))


def many_objects(file):
    for index in range(9):
        file.create_group(f"data/layer{index}")


def many_groups(file):
    for index in range(9):
        file.create_group(f"data/layer{index}/more")


def many_bombs(file):
    for index in range(9):
        zeros = np.zeros(100_000, np.float32)
        file.create_dataset(f"data/conv/{index}", data=zeros, chunks=zeros.shape, compression="gzip")


def long_path(file):
    file["data/" + "n" * 5000 + "/0"] = np.ones(1, np.float32)


def long_name(file):
    file["data/" + "n" * 1001 + "/0"] = np.ones(1, np.float32)


def high_index(file):
    file["data/conv/100"] = np.ones(1, np.float32)


def many_layers(file):
    for index in range(9):
        file[f"data/{index}/0"] = np.ones(1, np.float32)


@pytest.mark.parametrize(
    "fill, constant, small, message",
    [
        (many_chunks, "files.hdf5.MAX_CHUNKS", 5, "30 chunks in a file of"),
        (many_objects, "files.hdf5.MAX_OBJECTS", 5, "a group of 9 objects; at most 5"),
        (many_groups, "files.hdf5.MAX_OBJECTS", 15, "more than 15 groups and data sets"),
        (many_bombs, "files.hdf5.ALWAYS_ALLOWED", 500_000, "unpacks to more than"),
        (long_path, "files.hdf5.MAX_PATH", 2000, "a name of more than 2000 characters"),
        (long_name, "proto.weights.MAX_NAME_LENGTH", 1000, "name of 1001 characters"),
        (high_index, "proto.weights.MAX_BLOBS", 100, "layer 'conv': more than 100 blobs"),
        (many_layers, "proto.weights.MAX_LAYERS", 8, "more than 8 layers"),
    ],
)
def test_more_than_any_file_has(tmp_path, monkeypatch, fill, constant, small, message):
    path = tmp_path / "w.caffemodel.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    monkeypatch.setattr(f"caffe_gp.{constant}", small)
    with pytest.raises(WeightsError, match=message), read_weights(path) as weights:
        weights.as_dict()


def test_what_always_may_be_unpacked(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.zeros(ALWAYS_ALLOWED // 4, np.float32), compression="gzip")
    with Hdf5File(tmp_path / "a.h5") as file:
        assert not file.values(file.child(file.root, "x")).any()


@pytest.mark.parametrize("iteration", [-1, 2**31, 2**63 - 1])
def test_iterations_that_none_can_be(tmp_path, iteration):
    path = str(tmp_path / "s.solverstate.h5")
    with h5py.File(path, "w") as file:
        file["iter"], file["current_step"] = np.int64([iteration]), np.int64([0])
        file.create_group("history")
    with pytest.raises(WeightsError, match=f"'iter' is {iteration}"):
        read_state(path)
    number, varint = iteration % 2**64, b""
    while number > 127:
        number, varint = number >> 7, varint + bytes([number & 127 | 128])
    path = path[: -len(".h5")]
    with open(path, "wb") as file:
        file.write(b"\x08" + varint + bytes([number]) + b"\x12\x01x" + b"\x20\x00")
    with pytest.raises(WeightsError, match="iter is negative, or more than 2147483647"):
        read_state(path)
