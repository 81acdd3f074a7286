"""Writing weights so that BVLC Caffe reads them: caffemodel V2, HDF5, mean files, solver states.

A caffemodel holds, like Net::ToProto's, the whole LayerParameter of every layer (name, type, blobs,
phase, parameters) in the order of the field numbers. Blobs are streamed from their arrays, so nothing
is held twice. Every file appears under its name only when it is complete.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import IO, Any, Callable, Mapping, Optional, Sequence, TypeVar, Union

import numpy as np
from google.protobuf.message import Message

from ..errors import WeightsError
from ..files.atomic import replacing, write_atomically
from ..files.hdf5 import MAX_OBJECTS
from . import messages as pb
from . import schema
from .wire import INT_MAX

Arrays = Mapping[str, Sequence[Optional[np.ndarray]]]
Part = Union[bytes, np.ndarray]  # of a file: bytes, or values that become little-endian float32
M = TypeVar("M", bound=Message)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _prefix(number: int, length: int) -> bytes:
    """Tag and length of a length-delimited field."""
    return _varint(number << 3 | 2) + _varint(length)


def _blob_parts(data: np.ndarray, diff: np.ndarray | None = None) -> list[Part]:
    """A BlobProto as byte strings and arrays to be written one after another."""
    parts: list[Part] = []
    for number, values in ((5, data), (6, diff)):
        if values is not None and values.size:
            parts += [_prefix(number, 4 * values.size), values]
    if data.ndim:
        dims = b"".join(_varint(dim) for dim in data.shape)
        dims = _prefix(1, len(dims)) + dims
        parts.append(_prefix(7, len(dims)) + dims)
    return parts


def _length(parts: Sequence[Part]) -> int:
    return sum(len(part) if isinstance(part, bytes) else 4 * part.size for part in parts)


def _write_part(stream: IO[bytes], part: Part) -> None:
    """Write bytes, or an array as little-endian float32 without a copy where it already is that."""
    if isinstance(part, bytes):
        stream.write(part)
        return
    flat = np.ascontiguousarray(part).reshape(-1)
    if flat.dtype == np.dtype("<f4"):
        stream.write(memoryview(flat.data).cast("B"))
        return
    for start in range(0, flat.size, 1 << 20):
        stream.write(flat[start : start + (1 << 20)].astype("<f4").tobytes())


def _write_bounded(path: str | os.PathLike[str], parts: Sequence[Part]) -> None:
    size = _length(parts)
    if size > INT_MAX:
        raise WeightsError(
            f"{os.fspath(path)}: would be {size} bytes; protobuf files end at {INT_MAX} "
            "(2 GiB - 1). Write HDF5 weights instead"
        )

    def write(stream: IO[bytes]) -> None:
        for part in parts:
            _write_part(stream, part)

    _atomically(path, lambda: write_atomically(path, write))


def _atomically(path: str | os.PathLike[str], write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise WeightsError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}") from None


def _without_fork_fields(message: M) -> M:
    """Remove, in place and at every depth, fields with our own numbers: BVLC has others there, or none."""
    for field, value in message.ListFields():
        if field.is_extension:
            message.ClearExtension(field)
        elif field.number >= schema.FORK_NUMBERS:
            message.ClearField(field.name)
        elif field.message_type is not None:
            for item in value if hasattr(value, "add") else [value]:
                _without_fork_fields(item)
    return message


def _arrays_of(
    arrays: Arrays | None, net: pb.NetParameter, path: str | os.PathLike[str]
) -> dict[str, list[Any]]:
    """The arrays by layer name as float arrays, after checking that the net has those layers, once each."""
    checked: dict[str, list[Any]] = {}
    layers = Counter(layer.name for layer in net.layer)
    for name, blobs in (arrays or {}).items():
        blobs = [blob if blob is None else np.asarray(blob) for blob in blobs]
        if blobs and layers[name] != 1:
            found = f"{layers[name] or 'no'} {'layers' if layers[name] else 'layer'}"
            raise WeightsError(
                f"{os.fspath(path)}: blobs for layer '{name}', but the net has {found} of that name"
            )
        if any(blob is not None and blob.dtype.kind not in "fiu" for blob in blobs):
            raise WeightsError(f"{os.fspath(path)}: layer '{name}': blobs must be arrays of numbers")
        checked[name] = blobs
    return checked


def write_caffemodel(
    path: str | os.PathLike[str], net: pb.NetParameter, arrays: Arrays, diffs: Arrays | None = None
) -> None:
    """Write a caffemodel (V2).

    ``net`` is a V2 NetParameter with the structure to record (its own ``blobs`` are ignored; fields
    that only forks know are left out); ``arrays`` maps layer names to their blobs in Caffe's order, any
    float dtype, written as float32. ``diffs``: the same for the diffs (a solver's ``snapshot_diff``).
    Raises WeightsError for arrays without a layer, more than 2 GiB - 1, or a path that cannot be written.
    """
    data = _arrays_of(arrays, net, path)
    diff = _arrays_of(diffs, net, path)
    parts: list[Part] = []
    if net.HasField("name"):
        name = net.name.encode("utf-8")
        parts += [_prefix(1, len(name)), name]
    for layer in net.layer:
        before, after = _split_at_blobs(layer)
        inner: list[Part] = [before]
        for i, blob in enumerate(data.get(layer.name, ())):
            blob_diffs = diff.get(layer.name, ())
            blob_parts = _blob_parts(blob, blob_diffs[i] if i < len(blob_diffs) else None)
            inner += [_prefix(7, _length(blob_parts))] + blob_parts
        inner.append(after)
        parts += [_prefix(100, _length(inner))] + inner
    _write_bounded(path, parts)


def _split_at_blobs(layer: pb.LayerParameter) -> tuple[bytes, bytes]:
    """The serialised fields of a LayerParameter before and after field 7, ``blobs``."""
    halves = []
    for wanted in (lambda number: number < 7, lambda number: number > 7):
        half = pb.LayerParameter()
        half.CopyFrom(layer)
        for field, _ in layer.ListFields():
            if not wanted(field.number) and not field.is_extension:
                half.ClearField(field.name)
        halves.append(_without_fork_fields(half).SerializePartialToString())
    return halves[0], halves[1]


def write_hdf5(
    path: str | os.PathLike[str], net: pb.NetParameter, arrays: Arrays, diffs: Arrays | None = None
) -> None:
    """Write HDF5 weights as Net::ToHDF5 does: a group data/<layer> for every layer, datasets 0, 1, ... in it.

    Arguments and errors as for ``write_caffemodel``; ``diffs`` go to a second tree, diff/<layer>. A blob that
    is None, as one that shares the data of another layer's, is left out. WeightsError, too, for more groups
    and data sets than are read of a file.
    """
    import h5py

    path = os.fspath(path)
    trees = {"data": _arrays_of(arrays, net, path)}
    if diffs is not None:
        trees["diff"] = _arrays_of(diffs, net, path)
    objects = sum(1 + len(net.layer) + sum(map(len, blobs_of.values())) for blobs_of in trees.values())
    if objects > MAX_OBJECTS:
        raise WeightsError(
            f"{path}: would hold {objects} groups and data sets; at most {MAX_OBJECTS} are read of an HDF5 "
            "file. Write a .caffemodel instead"
        )

    def write() -> None:
        with replacing(path) as stream, h5py.File(stream, "w") as archive:
            for tree, blobs_of in trees.items():
                root = archive.create_group(tree)
                for layer in net.layer:
                    if not layer.name:
                        continue
                    group = root.require_group(layer.name)
                    for i, blob in enumerate(blobs_of.get(layer.name, ())):
                        if blob is not None:
                            group.create_dataset(str(i), data=np.asarray(blob, dtype=np.float32))

    _atomically(path, write)


def write_blob(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write one blob as a BlobProto file, float32.

    A 4-D array gets num, channels, height, width instead of a shape, as compute_image_mean writes it.
    """
    array = np.asarray(array)
    if array.ndim == 4:
        dims = b"".join(_varint(i + 1 << 3) + _varint(dim) for i, dim in enumerate(array.shape))
        parts: list[Part] = [dims]
        if array.size:
            parts += [_prefix(5, 4 * array.size), array]
    else:
        parts = _blob_parts(array)
    _write_bounded(path, parts)


def write_solverstate(
    path: str | os.PathLike[str],
    iter: int,
    learned_net: str,
    current_step: int,
    history: Sequence[np.ndarray],
) -> None:
    """Write a binary solver state: iteration, the caffemodel it belongs to, the solver's history blobs."""
    name = learned_net.encode("utf-8")
    parts: list[Part] = [b"\x08" + _varint(iter), _prefix(2, len(name)), name]
    for array in history:
        blob = _blob_parts(np.asarray(array))
        parts += [_prefix(3, _length(blob))] + blob
    parts.append(b"\x20" + _varint(current_step))
    _write_bounded(path, parts)
