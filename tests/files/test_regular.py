"""Every reader opens regular files only: no pipe, device or folder, nothing above its cap."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from caffe_gp import caffe, proto
from caffe_gp.caffe.solver_state import read_state
from caffe_gp.datasets import cifar
from caffe_gp.datasets.classification import read_idx
from caffe_gp.datasets.mat_files import read_label_mat
from caffe_gp.errors import CaffeGPError, printable, quoted
from caffe_gp.files import kinds
from caffe_gp.files.json_files import read_json
from caffe_gp.files.regular import open_regular, read_regular
from caffe_gp.images.inputs import read_array, read_palette
from caffe_gp.images.lists import read_lines
from caffe_gp.models.convert.archives import open_archive

DATA = 'layer { name: "d" type: "%s" top: "a" top: "b" %s { source: "%s" batch_size: 1 %s } %s }'
SOURCES = {
    "ImageData": ("image_data_param", "", ""),
    "ImageSegData": ("image_data_param", "", ""),
    "HDF5Data": ("hdf5_data_param", "", ""),
    "WindowData": ("window_data_param", "", "transform_param { crop_size: 4 }"),
    "Data": ("data_param", "backend: LMDB", ""),
}
INFOGAIN = """
layer { name: "d" type: "DummyData" top: "s" top: "l" dummy_data_param { shape { dim: 1 dim: 2 }
shape { dim: 1 dim: 1 } } } layer { name: "i" type: "InfogainLoss" bottom: "s" bottom: "l" top: "o"
infogain_loss_param { source: "%s" } }"""
MATWRITE = """
layer { name: "d" type: "DummyData" top: "s" dummy_data_param { shape { dim: 1 dim: 2 } } }
layer { name: "m" type: "MatWrite" bottom: "s" mat_write_param { prefix: "x" source: "%s" } }"""


def net_of(text):
    def read(path):
        Path("net.prototxt").write_text(text % str(path).replace("\0", "\\000"))
        caffe.Net("net.prototxt", caffe.TEST)

    return read


def layer(kind):
    param, inside, beside = SOURCES[kind]
    top = '"b" top: "c"' if kind == "ImageSegData" else '"b"'
    text = DATA.replace('"b"', top) % (kind, param, "@", inside, beside)
    return net_of(text.replace("@", "%s"))


READERS = {
    "prototxt": proto.read_text,
    "caffemodel": proto.read_weights,
    "mean": proto.read_blob,
    "state": proto.read_solverstate,
    "json": lambda path: read_json(path, "a test"),
    "list": lambda path: read_lines(Path(path)),
    "npy": lambda path: read_array(str(path)),
    "palette": lambda path: read_palette(str(path)),
    "mat": lambda path: read_label_mat(Path(path), "x"),
    "idx": lambda path: read_idx(Path(path)),
    "cifar": lambda path: cifar._read_pickle(Path(path)),
    "archive": open_archive,
    "infogain": net_of(INFOGAIN),
    "matwrite": net_of(MATWRITE),
    **{kind: layer(kind) for kind in SOURCES},
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_regular_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    for path in ("pipe", "/dev/zero", str(tmp_path), "nowhere", "a\0b"):
        with pytest.raises(CaffeGPError) as caught:
            READERS[name](path)
        assert "Error" not in str(caught.value)


def test_the_database_of_an_lmdb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "db").mkdir()
    os.mkfifo(tmp_path / "db" / "data.mdb")
    with pytest.raises(CaffeGPError, match="a pipe, not a file|LMDB"):
        layer("Data")("db")


def test_states_in_hdf5(tmp_path):
    os.mkfifo(tmp_path / "s.h5")
    with pytest.raises(CaffeGPError, match="a pipe, not a file"):
        read_state(str(tmp_path / "s.h5"))


def test_caps(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes; at most 4 are read"):
        read_regular(tmp_path / "a", 4)
    with pytest.raises(OSError, match="more than 3 bytes"):  # its size says 0
        read_regular("/proc/self/status", 3)
    with open_regular(tmp_path / "a") as stream:
        assert stream.read() == b"12345"


def test_arrays_that_claim_more_than_the_file_has(tmp_path):
    whole = tmp_path / "a.npy"
    np.save(whole, np.arange(6.0))
    assert read_array(str(whole)).tolist() == list(range(6))
    header = np.lib.format.magic(1, 0) + (118).to_bytes(2, "little")
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    whole.write_bytes(header + text.ljust(117).encode() + b"\n" + bytes(48))
    with pytest.raises(CaffeGPError, match="176 bytes, which its shape"):
        read_array(str(whole))
    for shape in ("(" * 9000, "[" * 9000, "-" * 9000, "(1,"):
        text = ("{'descr': '<f8', 'fortran_order': False, 'shape': " + shape).encode()
        whole.write_bytes(np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text)
        with pytest.raises(CaffeGPError, match="its header is none"):
            read_array(str(whole))


def test_kinds_of_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert kinds.wrong_file(tmp_path / "pipe", kinds.IMAGE) == ""
    assert kinds.what_is(tmp_path) == kinds.FOLDER


def test_a_few_characters_are_quoted_and_none_that_a_terminal_obeys():
    assert quoted("short") == "'short'"
    assert quoted("root:x:0:0:root:/root:/bin/bash") == "'root:x:0:0:root:...'"
    assert quoted("\x1b[2Ja\x07\u202eb") == r"'\x1b[2Ja\x07\u202eb'"
    assert str(CaffeGPError("layer '\x1b[2J\0'")) == "layer '\\x1b[2J\\x00'"
    assert printable("déjà vu\n\t\x9b") == "déjà vu\n\t\\x9b"


@pytest.mark.parametrize("kind", ["ImageData", "ImageSegData", "WindowData", "HDF5Data"])
def test_another_file_given_as_a_list_is_not_told(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("user:$6$salt$hash/of\x1b[2Ja-very-long/password-of-somebody:19000:0\n")
    with pytest.raises(CaffeGPError) as caught:
        layer(kind)("secret")
    said = str(caught.value)
    assert "\x1b" not in said and "hash" not in said.replace("$hash/of", "") and "somebody" not in said
