"""Reading weights: caffemodels of every age, HDF5 weights, mean files, solver states.

    with read_weights("net.caffemodel") as weights:
        for name, blobs in weights:
            for blob in blobs:
                blob.copy_to(destination)          # float32, one copy, file to destination

Only names, types and blobs of layers are read: the fields around them have different numbers in different
forks.
"""

from __future__ import annotations

import itertools
import os
from typing import Iterator

import numpy as np

from ..errors import WeightsError
from ..files.kinds import CAFFEMODEL, DAMAGED_HDF5, HDF5, HDF5_MAGIC, HDF5_WEIGHTS, MEAN, STATE
from ..files.protobuf import LEN, VARINT, Buffer, Damage, Field, Reading, expect, fields
from .batch_norm import in_todays_order
from .hdf5_weights import read_hdf5
from .mapped import MappedFile, map_file, mapped_blob, refuse_other_files
from .weights import MAX_HISTORY, Layer, SolverStateFile, WeightBlob, Weights, check_count, check_layer
from .wire import INT_MAX

#: Of all messages of a file: 50 for each layer. Each costs 1.5 microseconds, whatever it is.
MAX_FIELDS = 500_000


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Open a weight file: a caffemodel (V0, V1 or V2) or HDF5 weights, told apart by content.

    Everything but the values themselves is checked here. Raises WeightsError for what is missing,
    damaged, truncated or no weight file at all, naming file, layer, blob and byte offset.
    """
    path = os.fspath(path)
    buffer = map_file(path)
    refuse_other_files(path, CAFFEMODEL, HDF5_WEIGHTS, HDF5, DAMAGED_HDF5)
    if buffer[: len(HDF5_MAGIC)] == HDF5_MAGIC:
        buffer.close()
        return read_hdf5(path)
    try:
        format, layers = _scan_net(buffer, path)
    except Damage as damage:
        raise WeightsError(f"{path}: {damage}. If it is a caffemodel, it is damaged: get it again") from None
    return Weights(path, format, layers)


def _counting() -> Reading:
    """``fields``, which raises Damage when the messages read with it hold more than MAX_FIELDS together."""
    counted = itertools.count(1)

    def read(buffer: Buffer, start: int, end: int) -> Iterator[Field]:
        for field in fields(buffer, start, end):
            if next(counted) > MAX_FIELDS:
                raise Damage(field.offset, f"more than {MAX_FIELDS} fields; no net has so many")
            yield field

    return read


def _scan_net(buffer: MappedFile, path: str) -> tuple[str, list[Layer]]:
    """(format, layers) of a NetParameter: field 100 is a V2 layer, field 2 a V1 (or V0) one."""
    v1, v2 = [], []
    read = _counting()
    for field in read(buffer, 0, len(buffer)):
        if field.number in (1, 2, 100):
            expected = {1: "the net's name", 2: "a V1 layer", 100: "a layer"}[field.number]
            expect(field, LEN, expected)
        if field.number == 2:
            v1.append(_scan_layer(buffer, read, field, path, name_field=4, blobs_field=6, v0_field=1))
        elif field.number == 100:
            v2.append(_scan_layer(buffer, read, field, path, name_field=1, blobs_field=7, type_field=2))
        check_count(path, len(v1) + len(v2))
    if not v1 and not v2:
        raise WeightsError(f"{path}: no layers found; this is no caffemodel, or a damaged one")
    if v1:  # Caffe's upgrade keeps the V1 layers where a file has both
        is_v0 = any(v0 for _, _, v0 in v1)
        return "caffemodel V0" if is_v0 else "caffemodel V1", [(name, blobs) for name, blobs, _ in v1]
    return "caffemodel V2", [(name, blobs) for name, blobs, _ in v2]


def _scan_layer(
    buffer: MappedFile,
    read: Reading,
    outer: Field,
    path: str,
    name_field: int,
    blobs_field: int,
    v0_field: int | None = None,
    type_field: int | None = None,
) -> tuple[str, list[WeightBlob | None], bool]:
    """(name, blobs, is V0) of one layer; a V1 entry may wrap a V0 one, whose name and blobs then count."""
    name, kind = "", b""
    spans: list[Field] = []
    for field in read(buffer, outer.start, outer.end):
        if field.number == name_field:
            expect(field, LEN, "a layer's name")
            name = bytes(buffer[field.start : field.end]).decode("utf-8", "replace")
            check_layer(path, name)
        elif field.number == blobs_field:
            expect(field, LEN, f"a blob of layer '{name}'")
            spans.append(field)
            check_layer(path, name, len(spans))
        elif field.number == type_field:
            expect(field, LEN, f"the type of layer '{name}'")
            kind = buffer[field.start : field.end]
        elif field.number == v0_field:
            expect(field, LEN, "a V0 layer")
            return (*_scan_layer(buffer, read, field, path, name_field=1, blobs_field=50)[:2], True)
    blobs: list[WeightBlob | None] = []
    for index, field in enumerate(spans):
        where = f"{path}: layer '{name}', blob {index}"
        blobs.append(mapped_blob(buffer, field.start, field.end, where, read))
    return name, in_todays_order(blobs) if kind == b"BatchNorm" else blobs, False


def read_blob(path: str | os.PathLike[str]) -> np.ndarray:
    """The single blob of a BlobProto file (``mean.binaryproto``) as a float32 array of its shape.

    Mean images are (1, channels, height, width), grey levels, in the channel order of the data base
    (BGR with Caffe's tools). Raises WeightsError.
    """
    path = os.fspath(path)
    buffer = map_file(path)
    refuse_other_files(path, MEAN)
    with buffer:
        return np.array(mapped_blob(buffer, 0, len(buffer), path, _counting()).array())


def read_solverstate(path: str | os.PathLike[str]) -> SolverStateFile:
    """Open a binary solver state as Caffe's snapshots write it. Raises WeightsError."""
    path = os.fspath(path)
    buffer = map_file(path)
    refuse_other_files(path, STATE)
    values = {1: 0, 4: 0}
    learned_net = ""
    history: list[WeightBlob] = []
    read = _counting()
    try:
        for field in read(buffer, 0, len(buffer)):
            if field.number in values:
                expect(field, VARINT, "iter" if field.number == 1 else "current_step")
                values[field.number] = field.value
                if field.value > INT_MAX:  # an int32: negative numbers are ten bytes of 2^64 - n
                    what = "iter" if field.number == 1 else "current_step"
                    raise WeightsError(f"{path}: {what} is negative, or more than {INT_MAX}: it is damaged")
            elif field.number == 2:
                expect(field, LEN, "learned_net")
                learned_net = bytes(buffer[field.start : field.end]).decode("utf-8", "replace")
            elif field.number == 3:
                expect(field, LEN, "history")
                if len(history) == MAX_HISTORY:
                    raise WeightsError(f"{path}: more than {MAX_HISTORY} blobs of history; it is damaged")
                where = f"{path}: history blob {len(history)}"
                history.append(mapped_blob(buffer, field.start, field.end, where, read))
    except Damage as damage:
        raise WeightsError(f"{path}: {damage}. Is it a solverstate?") from None
    return SolverStateFile(path, values[1], learned_net, values[4], history)
