"""Abuses by files of weights, of a solver's state and of other frameworks."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any, Callable

import h5py
import numpy as np
import torch

from attacks.idea import HARM, SECRET, Attack, written
from caffe_gp.proto import messages as pb

_NET = """
layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 dim: 1000 } } }
layer { name: "conv" type: "InnerProduct" bottom: "d" top: "x"
  inner_product_param { num_output: 20 bias_term: false } }
"""
_SHAPE = (20, 1000)
_H5 = ("weights", "hdf5_data", "archive", "state")


def _h5(name: str, idea: str, fill: Callable[[h5py.File, Path], Any], *readers: str) -> Attack:
    """An HDF5 file; beside it a net with a layer that its weights would fit, and a file to be stolen from."""

    def make(folder: Path) -> Path:
        (folder / "net.prototxt").write_text(_NET)
        (folder / "secret").write_bytes(SECRET.encode() * 4000)
        path = folder / f"{name}.h5"
        with h5py.File(path, "w") as file:
            fill(file, folder)
        return path

    expected = "DataError" if readers == ("hdf5_data",) else "WeightsError"
    return Attack(f"h5_{name}", idea, make, readers or _H5, expected)


def _short_chunk(at: str, shape: tuple[int, ...], stored: bytes = zlib.compress(b"\0" * 100)) -> Any:
    """A data set of one chunk whose stored bytes unpack to far less than the chunk."""

    def fill(file: h5py.File, folder: Path) -> None:
        chunked = file.create_dataset(at, shape, "f4", chunks=shape, compression="gzip")
        chunked.id.write_direct_chunk((0,) * len(shape), stored)

    return fill


def _short_state(file: h5py.File, folder: Path) -> None:
    file["iter"], file["current_step"] = np.array([1]), np.array([0])
    _short_chunk("history/0", (2000,))(file, folder)


def _huge_chunk(file: h5py.File, folder: Path) -> None:
    packed = zlib.compress(b"\0" * (1 << 24))
    chunked = file.create_dataset("data/conv/0", (1 << 30,), "f4", chunks=(1 << 28,), compression="gzip")
    chunked.id.write_direct_chunk((0,), packed)


def _external(file: h5py.File, folder: Path) -> None:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_external(str(folder / "secret").encode(), 0, 80_000)
    space = h5py.h5s.create_simple(_SHAPE)
    group = file.create_group("data/conv")
    h5py.h5d.create(group.id, b"0", h5py.h5t.IEEE_F32LE, space, layout)


def _external_data(file: h5py.File, folder: Path) -> None:
    _external(file, folder)
    file.move("data/conv/0", "values")
    del file["data"]
    file.move("values", "data")


def _virtual(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.ones(_SHAPE, "f4")
    layout = h5py.VirtualLayout(_SHAPE, "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", _SHAPE)
    file.create_group("data/conv").create_virtual_dataset("0", layout)


def _external_link(file: h5py.File, folder: Path) -> None:
    _virtual(file, folder)
    del file["data/conv/0"]
    file["data/conv/0"] = h5py.ExternalLink(str(folder / "other.h5"), "x")


def _soft_link(file: h5py.File, folder: Path) -> None:
    file["x"] = np.ones(_SHAPE, "f4")
    file["data/conv/0"] = h5py.SoftLink("/x")


def _circle(file: h5py.File, folder: Path) -> None:
    file.create_group("data/conv")
    file["data/conv/data"] = file["data"]


def _deep(file: h5py.File, folder: Path) -> None:
    group = file
    for _ in range(3000):
        group = group.create_group("data")


def _claims(file: h5py.File, folder: Path) -> None:
    file.create_dataset("data/conv/0", (1 << 33,), "f4", chunks=(1 << 10,))


def _many_links(file: h5py.File, folder: Path) -> None:
    file["iter"], file["current_step"] = np.array([1]), np.array([0])
    file["history/0"] = np.zeros(1 << 20, "f4")
    for index in range(1, 300):
        file[f"history/{index}"] = file["history/0"]


def _many_chunks(file: h5py.File, folder: Path) -> None:
    file.create_dataset("data", data=np.zeros(400_000, "f4"), chunks=(1,))


def _many_groups(file: h5py.File, folder: Path) -> None:
    for index in range(30_000):
        file.create_group(f"data/{index}")


def _high_index(file: h5py.File, folder: Path) -> None:
    file["data/conv/9999"] = np.zeros(1, "f4")


def _long_names(file: h5py.File, folder: Path) -> None:
    file.create_group("data/" + "/".join(["n" * 60_000] * 20) + "/0")


_HDF5 = [
    _h5("short_chunk", "a chunk that unpacks to less than it should: memory becomes weights",
        _short_chunk("data/conv/0", _SHAPE)),
    _h5("short_chunk_big", "the same, 800 MB", _short_chunk("data/conv/0", (200_000_000,))),
    _h5("short_chunk_keras", "the same in a file of Keras",
        _short_chunk("conv/conv/kernel:0", (3, 3, 20, 20)), "archive", "weights"),
    _h5("short_chunk_state", "the same in a solver's state", _short_state, "state"),
    _h5("short_chunk_data", "the same in a data layer's file", _short_chunk("data", (5, 2000)), "hdf5_data"),
    _h5("huge_chunk", "a chunk that unpacks to more", _huge_chunk),
    _h5("external", "external storage: the bytes of another file become weights", _external),
    _h5("external_data", "the same in a data layer's file", _external_data, "hdf5_data"),
    _h5("virtual", "a virtual data set", _virtual),
    _h5("external_link", "a link into another file", _external_link),
    _h5("soft_link", "a soft link", _soft_link),
    _h5("circle", "groups in a circle", _circle),
    _h5("deep", "groups in groups, 3,000 deep", _deep),
    _h5("links", "a data set of 4 MB under 300 names", _many_links, "state", "weights"),
    _h5("chunks", "400,000 chunks of a value", _many_chunks, "hdf5_data"),
    _h5("groups", "30,000 empty groups", _many_groups, "weights"),
    _h5("index", "a layer with only its 9999th blob", _high_index, "weights"),
    _h5("names", "names of 60 kB in one another", _long_names, "weights"),
    _h5("claims", "34 GB claimed, nothing stored", _claims),
]  # fmt: skip


# ---- protobuf


def _caffemodel(name: str, idea: str, blob: Callable[[], bytes]) -> Attack:
    """A caffemodel of one layer with one blob."""
    model = written(f"{name}.caffemodel", lambda: _field(100, _field(1, b"conv") + _field(7, blob())))
    return Attack(f"cm_{name}", idea, model, ("weights", "mean"), "WeightsError")


def _raw(name: str, idea: str, content: Callable[[], bytes], reader: str = "weights") -> Attack:
    file = written("n.solverstate" if reader == "state" else "n.caffemodel", content)
    return Attack(name, idea, file, (reader,), "WeightsError")


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _dims(*dims: int) -> bytes:
    return _field(7, _field(1, b"".join(map(_varint, dims))))


def _raw_values(kind: int, size: int) -> bytes:
    """NVIDIA's raw_data_type and raw_data."""
    return b"\x50" + _varint(kind) + _field(12, bytes(size))


_HALF, _BOOL, _NONE = 2, 5, 200
_ONE_VALUE = b"\x2d\0\0\0\0"  # data, with a tag of its own
_STATE = pb.SolverState(current_step=1).SerializeToString()
_PROTOBUF = [
    _caffemodel("overflow", "a shape whose product overflows", lambda: _dims(0, 1 << 62, 1 << 62)),
    _caffemodel("claims", "a shape of 8 GB, without values", lambda: _dims(1 << 31)),
    _caffemodel("alternating", "values between other fields", lambda: (_ONE_VALUE + b"\x08\x01") * 100_000),
    _caffemodel("axes", "a hundred thousand axes", lambda: _dims(*[1] * 100_000) + _ONE_VALUE),
    _caffemodel("dims", "ten million dimensions", lambda: _field(7, _field(1, bytes(10_000_000)))),
    _caffemodel("short", "a blob that ends behind the file", lambda: _dims(2) + b"\x2a\xff\xff\xff\xff\x07"),
    _caffemodel(
        "raw_short", "a million raw values claimed, 5 bytes", lambda: _dims(10**6) + _raw_values(_HALF, 5)
    ),
    _caffemodel(
        "raw_long", "40 MB of raw data for one value", lambda: _dims(1) + _raw_values(_HALF, 40 << 20)
    ),
    _caffemodel("raw_claims", "4 GB of raw values claimed", lambda: _dims(1 << 31) + _raw_values(_HALF, 2)),
    _caffemodel(
        "raw_overflow", "a raw size that overflows", lambda: _dims(1 << 62, 4) + _raw_values(_HALF, 0)
    ),
    _caffemodel("raw_bool", "raw values of a type that is none", lambda: _dims(1) + _raw_values(_BOOL, 1)),
    _caffemodel("raw_type", "raw values of an unknown type", lambda: _dims(1) + _raw_values(_NONE, 1)),
    _caffemodel("raw_many", "a million raw_data", lambda: _dims(1) + b"\x62\0" * 1_000_000),
    _caffemodel(
        "raw_axes", "raw values of 200,000 axes", lambda: _dims(*[1] * 200_000) + _raw_values(_HALF, 2)
    ),
    Attack(
        "cm_raw_both",
        "raw values that contradict the blob's own, which count",
        written("raw_both.caffemodel", lambda: _both()),
        ("weights",),
        "loads",
    ),
    _raw("cm_raw_order", "five blobs of BatchNorm, one too large", lambda: _five(10**8)),
    _raw("cm_layers", "a million empty layers", lambda: b"\xa2\x06\x00" * 1_000_000),
    _raw("cm_unknown", "two million unknown fields", lambda: b"\xfa\x06\x00" * 2_000_000),
    _raw("cm_blobs", "a layer of a million empty blobs", lambda: _field(100, b"\x3a\0" * 1_000_000)),
    _raw("cm_deep", "groups in groups", lambda: b"\x0b" * 1_000_000),
    _raw("state_history", "a million blobs of history", lambda: _field(3, _dims(0)) * 1_000_000, "state"),
    _raw("state_negative", "a negative iteration", lambda: _STATE + b"\x08" + _varint(2**64 - 5), "state"),
    _raw("state_2e63", "an iteration of 2^63", lambda: _STATE + b"\x08" + _varint(2**63), "state"),
]


def _both() -> bytes:
    """A layer whose blob has one value, and 20 MB of raw values that are not its."""
    blob = _dims(1) + _ONE_VALUE + _raw_values(_BOOL, 20 << 20)
    return _field(100, _field(1, b"conv") + _field(7, blob))


def _five(last: int) -> bytes:
    """A BatchNorm whose blobs have one value, but for the last: nobody knows their order."""
    blobs = [_dims(1) + _raw_values(_HALF, 2)] * 4 + [_dims(last) + _raw_values(_HALF, 2)]
    return _field(100, _field(2, b"BatchNorm") + b"".join(_field(7, blob) for blob in blobs))


# ---- other frameworks


class _RunsCode:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return open, (str(self._path), "w")


def _pth(content: Callable[[Path], Any]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        torch.save(content(folder), folder / "w.pth")
        return folder / "w.pth"

    return make


def _stretched(kind: torch.dtype) -> Callable[[Path], Any]:
    return lambda folder: {"w": torch.zeros(1, dtype=kind).as_strided((30_000, 50_000), (0, 0))}


def _pickled_npz(folder: Path) -> Path:
    np.savez(folder / "w.npz", w=np.array([_RunsCode(folder / HARM)], dtype=object))
    return folder / "w.npz"


def _npz_bomb(folder: Path) -> Path:
    header = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (1 << 28,)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(folder / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("w.npy", "w") as file:
            file.write(header.getvalue())
            for _ in range(1 << 10):
                file.write(bytes(1 << 20))
    return folder / "w.npz"


def _plain_pickle(folder: Path) -> Path:
    return written("w.pth", pickle.dumps(_RunsCode(folder / HARM), 2))(folder)


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "w.caffemodel")
    return folder / "w.caffemodel"


def _other(name: str, idea: str, make: Callable[[Path], Path], *readers: str) -> Attack:
    return Attack(name, idea, make, readers or ("archive",), "WeightsError")


_OTHERS = [
    _other("pth_code", "a pickle that runs code", _pth(lambda folder: {"w": _RunsCode(folder / HARM)})),
    _other("pth_old_pickle", "the same, not in a zip", _plain_pickle),
    _other("pth_stretched_half", "one number, stride zero: 6 GB as float32", _pth(_stretched(torch.half))),
    _other("pth_stretched_float", "the same, float32", _pth(_stretched(torch.float))),
    _other("npz_code", "a pickle in a .npz", _pickled_npz),
    _other("npz_bomb", "1 GB of zeros in 1 MB", _npz_bomb),
    _other("weights_pipe", "a pipe without a writer", _pipe, "weights", "mean", "state", "archive"),
]

ATTACKS = [*_HDF5, *_PROTOBUF, *_OTHERS]
