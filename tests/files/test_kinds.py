"""What a file is, by its content: files of every kind that is met, made by the libraries that write them."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from caffe_gp import proto
from caffe_gp.files import kinds
from caffe_gp.files.kinds import what_is, what_is_content, wrong_content, wrong_file

NET = 'name: "n"\nlayer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }\n'
SOLVER = 'net: "train.prototxt" # layer {\nbase_lr: 0.01\nlr_policy: "fixed"\n'


def saved(save):
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def zipped(name):
    def write(stream):
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(name, "x")

    return saved(write)


def tarred(stream):
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))


def image(format):
    return saved(lambda stream: Image.new("RGB", (9, 7)).save(stream, format))


@pytest.mark.parametrize(
    "content, kind",
    [
        (NET, kinds.NET),
        ("layers { type: RELU }", kinds.NET),
        ('input: "data" input_dim: 1', kinds.NET),
        (SOLVER, kinds.SOLVER),
        ("base_lr: 0.1 max_iter: 3 net_param { layer { } }", kinds.SOLVER),
        ("one.jpg\ntwo.jpg\n", kinds.TEXT),
        ("", kinds.EMPTY),
        (" \n", kinds.EMPTY),
        ("\n<!DOCTYPE html><html>", kinds.WEB_PAGE),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", kinds.LFS),
        ("404: Not Found", kinds.REFUSAL),
        ("Entry not found", kinds.REFUSAL),
        ('{"layer": []}', kinds.JSON),
        ("[net]\nbatch=64\n", kinds.DARKNET),
        ("#!/usr/bin/env python\n'''A tool.'''\nimport caffe\n", kinds.PYTHON),
        (NET.encode("utf-16"), kinds.UTF16),
        (NET.encode("utf-16-le"), kinds.UTF16),
        (b"\xef\xbb\xbf" + NET.encode(), kinds.NET),
        *((image(format), kinds.IMAGE) for format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")),
        (saved(lambda stream: np.save(stream, np.zeros(3))), kinds.NPY),
        (saved(lambda stream: np.savez(stream, a=np.zeros(3))), kinds.NUMPY),
        (zipped("net.caffemodel"), kinds.ZIP),
        (zipped("archive/data.pkl"), kinds.TORCH),
        (zipped("a")[:30], kinds.DAMAGED_ZIP),
        (gzip.compress(b"x"), kinds.ARCHIVE),
        (saved(tarred), kinds.ARCHIVE),
        (pickle.dumps({"a": 1}), kinds.PICKLE),
        (kinds.HDF5_MAGIC + b"\0" * 100, kinds.DAMAGED_HDF5),
        (b"\x10\0\0\0\0\0\0\0" + b'{"a":{"dtype":', kinds.SAFETENSORS),
        (b"\x80\x02\0\0\0\0\0\0" + b'{"a":{"dtype":', kinds.SAFETENSORS),  # as pickles begin, too
        (b"\x08\x07\x12\x07pytorch\x3a\x02\x0a\x00", kinds.ONNX),
        (b"\x0e\x01\x02", kinds.BINARY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # archives hold the time
)
def test_what_is(tmp_path, content, kind):
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / "file").write_bytes(content)
    assert what_is(tmp_path / "file") == what_is_content(content) == kind


def test_folder(tmp_path):
    assert what_is(tmp_path) == kinds.FOLDER
    with pytest.raises(FileNotFoundError):
        what_is(tmp_path / "none")


def test_weights_of_caffe(tmp_path):
    net = proto.parse_net_param(
        NET + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
        "convolution_param { num_output: 1 kernel_size: 1 } }"
    )
    arrays = {"c": [np.zeros((1, 2, 1, 1), np.float32), np.zeros(1, np.float32)]}
    proto.write_caffemodel(tmp_path / "w.caffemodel", net, arrays)
    proto.write_hdf5(tmp_path / "w.h5", net, arrays)
    proto.write_blob(tmp_path / "mean", np.zeros((1, 3, 20, 20), np.float32))
    state = {"iter": 2, "learned_net": "s_iter_2.caffemodel", "current_step": 0, "history": arrays["c"]}
    proto.write_solverstate(tmp_path / "state", **state)
    found = [what_is(tmp_path / name) for name in ("w.caffemodel", "w.h5", "mean", "state")]
    assert found == [kinds.CAFFEMODEL, kinds.HDF5_WEIGHTS, kinds.MEAN, kinds.STATE]
    said = wrong_file(tmp_path / "state", kinds.CAFFEMODEL, kinds.HDF5_WEIGHTS)
    assert "a solver state" in said and "weights of that snapshot are in 's_iter_2.caffemodel'" in said
    assert ".solverstate that was written beside it" in wrong_file(tmp_path / "w.caffemodel", kinds.STATE)


def test_wrong_file_says_what_to_do():
    weights = (kinds.CAFFEMODEL, kinds.HDF5_WEIGHTS)
    assert wrong_content(SOLVER.encode(), kinds.NET).endswith("The net that it trains is 'train.prototxt'")
    assert 'net: "FILE"' in wrong_content(NET.encode(), kinds.SOLVER)
    assert "caffe_gp convert" in wrong_content(zipped("a/data.pkl"), *weights)
    assert "Unpack it" in wrong_content(gzip.compress(b"x"), *weights)
    assert "UTF-8" in wrong_content(NET.encode("utf-16"), kinds.NET)
    assert wrong_content(NET.encode(), kinds.NET) == wrong_content(b"\x0e\x01", kinds.NET) == ""
