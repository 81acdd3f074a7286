"""MATLAB files against scipy's writer; damaged and hostile ones end in an error, within the file's memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from caffe_gp.datasets.mat_files import read_label_mat
from caffe_gp.errors import DataError
from caffe_gp.files import mat5
from caffe_gp.files.mat5 import MatError, MatStructs, read_mat

pytestmark = pytest.mark.engine

MOST = 1 << 20


def mat(content, **options):
    out = io.BytesIO()
    savemat(out, content, **options)
    return out.getvalue()


def read(tmp_path, content, most=MOST):
    (tmp_path / "a.mat").write_bytes(content)
    return read_mat(tmp_path / "a.mat", most)


KINDS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_of_every_kind(tmp_path, compressed):
    rng = np.random.RandomState(0)
    arrays = {f"k{kind}": rng.randint(0, 100, (3, 4)).astype(kind) for kind in KINDS}
    arrays["four"] = rng.rand(2, 3, 4, 5).astype(np.float32)
    arrays["one"] = np.array([[7]], np.uint8)
    arrays["none"] = np.zeros((0, 0))  # older scipy writes any other empty array so
    found = read(tmp_path, mat(arrays, do_compression=compressed))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_structures_texts_and_what_is_not_read(tmp_path):
    entries = np.array(
        [("a_f", np.ones((2, 2), np.float32)), ("bb", np.zeros(3))], [("name", "O"), ("value", "O")]
    )
    content = {
        "params": entries,
        "deep": {"inside": {"x": np.arange(3)}, "text": "grün"},
        "cell": np.array([1, "x"], object),
        "complex": np.array([1j]),
        "after": np.array([[5]]),
    }
    found = read(tmp_path, mat(content))
    assert isinstance(found["params"], MatStructs)
    assert [entry["name"] for entry in found["params"].items] == ["a_f", "bb"]
    np.testing.assert_array_equal(found["params"].items[0]["value"], np.ones((2, 2)))
    (deep,) = found["deep"].items
    assert deep["text"] == "grün" and deep["inside"].items[0]["x"].tolist() == [[0, 1, 2]]
    assert found["cell"] is None and found["complex"] is None and found["after"].tolist() == [[5]]


# ---- files by hand


def element(kind, data, order="<"):
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(*parts, kind=6, dims=(1, 1), name=b"x", order="<"):
    flags = element(6, struct.pack(f"{order}II", kind, 0), order)
    shape = element(5, struct.pack(f"{order}{len(dims)}i", *dims), order)
    return element(14, flags + shape + element(1, name, order) + b"".join(parts), order)


def file(*variables, order="<"):
    mark = struct.pack(f"{order}H", 0x0100) + (b"IM" if order == "<" else b"MI")
    return b"MATLAB 5.0 MAT-file".ljust(124) + mark + b"".join(variables)


def packed(content):
    return struct.pack("<II", 15, len(zlib.compress(content))) + zlib.compress(content)


DOUBLE = element(9, struct.pack("<d", 3.5))


def test_big_endian(tmp_path):
    values = element(9, struct.pack(">2d", 1, 2), ">")
    assert read(tmp_path, file(matrix(values, dims=(1, 2), order=">"), order=">"))["x"].tolist() == [[1, 2]]


def fields(count, *names, values=(), kind=2):
    length = element(5, struct.pack("<i", 32))
    text = element(1, b"".join(name.ljust(32, b"\0") for name in names))
    return matrix(length, text, *values, kind=kind, dims=(1, count))


def nested(depth):
    inner = matrix(DOUBLE)
    for _ in range(depth):
        inner = fields(1, b"f", values=[inner])
    return inner


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "ends within its header"),
        (b"MATLAB 7.3 MAT-file".ljust(600), "-v7"),
        (b"\0" * 200, "no MATLAB file of versions 5 to 7"),
        (file(matrix(DOUBLE, dims=(1 << 30, 1 << 30))), "with 1 values"),
        (file(matrix(DOUBLE, dims=(-1, -1))), "of the shape"),
        (file(matrix(DOUBLE, dims=(1,))), "of the shape"),
        (file(matrix(DOUBLE, dims=(1,) * 1000)), "of the shape"),
        (file(matrix(dims=(1, 1))), "the values of an array is missing"),
        (file(matrix(element(99, b"12345678"))), "is of type 99"),
        (file(matrix(element(9, b"123"))), "with 3 bytes"),
        (file(fields(1 << 30, b"f")), "structures of 1 fields in"),
        (file(fields(1 << 30)), "structures of 0 fields in|the names"),
        (file(fields(2, b"f", values=[matrix(DOUBLE)])), "is missing|structures of"),
        (file(fields(1, b"f", values=[DOUBLE])), "a field of type 9"),
        (file(nested(50)), "deeper than 8"),
        (file(matrix(element(77, b"ab"), kind=4)), "a text of type 77"),
        (file(element(14, b"")[:8] + b"\1"), "within the head"),
        (file(struct.pack("<II", 14, 0xFFFFFFF0)), "an element of 4294967280 bytes where 0 are left"),
        (file(struct.pack("<HHI", 14, 5, 0)), "a small element of 5 bytes"),
        (file(packed(bytes(100 << 20))), "more comes out of it"),
        (file(packed(matrix(DOUBLE))[:-6]), "bytes where"),
        (file(element(15, zlib.compress(matrix(DOUBLE))[:-6])[:-8]), "cut off|bytes where"),
        (file(*[packed(matrix(element(9, bytes(1 << 19)), dims=(1, 1 << 16)))] * 4), "more comes out of it"),
        (file(*[matrix(element(2, bytes(1 << 16)), dims=(1, 1 << 16))] * 4), "more comes out of it"),
    ],
)
def test_hostile_files(tmp_path, content, says):
    tracemalloc.start()
    try:
        with pytest.raises(MatError, match=says):
            read(tmp_path, content)
        assert tracemalloc.get_traced_memory()[1] < 8 * MOST
    finally:
        tracemalloc.stop()


def test_the_number_of_values(tmp_path, monkeypatch):
    monkeypatch.setattr(mat5, "MAX_VALUES", 10)
    six = fields(6, b"f", values=[element(14, b"")] * 6)
    assert len(read(tmp_path, file(six))["x"].items) == 6
    for content, says in (
        (file(fields(11, b"f", values=[element(14, b"")] * 11)), "11 structures of 1 fields in"),
        (file(six, six), "more than 10 values in structures"),
    ):
        with pytest.raises(MatError, match=says):
            read(tmp_path, content)


def test_the_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr(mat5, "SMALL", 1 << 16)
    with pytest.raises(MatError, match="more comes out of it"):
        read(tmp_path, file(packed(bytes(1 << 19))))


def test_every_damage_is_a_data_error(tmp_path):
    good = mat({"GTcls": {"Segmentation": np.ones((9, 9), np.uint8), "text": "abc"}}, do_compression=False)
    path, chance = tmp_path / "a.mat", np.random.RandomState(3)
    refused = 0
    for trial in range(300):
        body = bytearray(good if trial % 3 else good[: chance.randint(len(good))])
        for _ in range(chance.choice([1, 3, 20])):
            body[chance.randint(len(body))] = chance.randint(256) if len(body) else 0
        path.write_bytes(body)
        try:
            assert read_label_mat(path, "GTcls", "Segmentation").size
        except DataError as error:
            assert str(path) in str(error) and str(error).isprintable()
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "content, says",
    [
        ({"L": np.array([[1.5]])}, "values that are none"),
        ({"L": np.array([[np.nan]])}, "values that are none"),
        ({"L": np.array([[np.inf]])}, "values that are none"),
        ({"L": np.zeros((0, 0))}, "it is not there"),
        ({"L": np.zeros((2, 2, 2))}, "it is not there"),
        ({"L": "text"}, "it is not there"),
        ({"L": {"x": 1}}, "it is not there"),
    ],
)
def test_labels(tmp_path, content, says):
    (tmp_path / "a.mat").write_bytes(mat(content))
    with pytest.raises(DataError, match=says):
        read_label_mat(tmp_path / "a.mat", "L")
