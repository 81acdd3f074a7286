"""Protobuf's wire format, as much of it as weight files need: finding fields without building objects.

A caffemodel of 545 MB holds a few hundred fields and 136 million floats. Walking the fields in
Python is nothing; turning the floats into Python objects is what makes other readers slow. So the
scanner returns where a blob's values lie in the (memory-mapped) file and touches only the tags.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import WeightsError
from ..files.protobuf import (
    I32,
    I64,
    LEN,
    VARINT,
    Buffer,
    Damage,
    Field,
    Reading,
    expect,
    fields,
    read_varint,
)
from .schema import TOP_LEVEL_ENUMS

#: Caffe's limit on the number of values in a blob (and protobuf's on the bytes in a file).
INT_MAX = 2**31 - 1
#: Caffe's limit on the axes of a blob.
MAX_AXES = 32
_LONGEST_VARINT = 10  # bytes
_FIRST_CHUNK, _RUN_CHUNK = 8, 1 << 20


class Segment(NamedTuple):
    """``count`` little-endian floats of ``width`` (2, 4 or 8) bytes from byte ``start``, ``stride`` apart."""

    start: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    stride: int
    width: int


class BlobEntry(NamedTuple):
    """A BlobProto: its shape, whether that came from num/channels/height/width, and where its data lie.

    raw   the type of NVIDIA's raw values ('FLOAT16'), '' where the values are Caffe's own
    """

    shape: tuple[int, ...]
    legacy: bool
    segments: list[Segment]
    raw: str = ""


def _signed(value: int) -> int:
    """int32 and int64 fields hold negative numbers as 64-bit two's complement."""
    return value - (1 << 64) if value >> 63 else value


def _run_length(buffer: Buffer, start: int, end: int, stride: int) -> int:
    """How many fields of ``stride`` bytes with tag byte buffer[start] follow each other from ``start``."""
    tag = buffer[start]
    limit = (end - start) // stride
    done, n = 0, _FIRST_CHUNK
    while done < limit:
        n = min(2 * n, _RUN_CHUNK, limit - done)  # few at first: a short run shall cost little
        tags = np.frombuffer(buffer, np.uint8, n * stride, start + done * stride)[::stride]
        other = np.flatnonzero(tags != tag)
        if len(other):
            return done + int(other[0])
        done += n
    return limit


def _varints(buffer: Buffer, field: Field, what: str) -> list[int]:
    """Values of a repeated varint field, packed or not."""
    if field.wire_type == VARINT:
        return [_signed(field.value)]
    expect(field, LEN, what)
    _check_axes((field.end - field.start) // _LONGEST_VARINT)
    values, position = [], field.start
    while position < field.end:
        value, position = read_varint(buffer, position, field.end)
        values.append(_signed(value))
    return values


# BlobProto: field number -> (bytes per value, is data rather than diff)
_VALUE_FIELDS = {5: (4, True), 6: (4, False), 8: (8, True), 9: (8, False)}
#: NVIDIA's types of raw values that are read: bytes of one.
RAW_WIDTHS = {"DOUBLE": 8, "FLOAT": 4, "FLOAT16": 2}
_RAW_TYPE, _RAW_DIFF_TYPE, _RAW_DATA, _RAW_DIFF = 10, 11, 12, 13
_TYPES = {number: name for name, number in TOP_LEVEL_ENUMS["Type"]}


def scan_blob(buffer: Buffer, start: int, end: int, read: Reading = fields) -> BlobEntry:
    """Shape and data segments of the BlobProto buffer[start:end], checked against each other.

    Caffe's rules (Blob::FromProto): any of num/channels/height/width makes the shape 4-D, else
    ``shape`` counts; ``double_data`` is used if there is any, else ``data``, else NVIDIA's ``raw_data``.
    Raises Damage or WeightsError.
    """
    legacy_dims = [0, 0, 0, 0]
    legacy = has_shape = has_diff = False
    dims: list[int] = []
    segments: dict[int, list[Segment]] = {4: [], 8: []}
    raw: Field | None = None
    raw_type: int | None = None
    position = start
    while position < end:
        restart: int | None = None
        for field in read(buffer, position, end):
            if field.number in (1, 2, 3, 4):
                expect(field, VARINT, ("num", "channels", "height", "width")[field.number - 1])
                legacy_dims[field.number - 1] = _signed(field.value)
                legacy = True
            elif field.number == 7:
                expect(field, LEN, "shape")
                has_shape = True
                for sub in read(buffer, field.start, field.end):
                    if sub.number == 1:
                        dims.extend(_varints(buffer, sub, "shape.dim"))
                    _check_axes(len(dims))
            elif field.number in (_RAW_TYPE, _RAW_DIFF_TYPE):
                expect(field, VARINT, "raw_data_type" if field.number == _RAW_TYPE else "raw_diff_type")
                if field.number == _RAW_TYPE and field.value in _TYPES:  # protobuf knows no other value
                    raw_type = field.value
            elif field.number in (_RAW_DATA, _RAW_DIFF):
                expect(field, LEN, "raw_data" if field.number == _RAW_DATA else "raw_diff")
                if field.number == _RAW_DATA:  # of several the last counts, as for protobuf
                    raw = field
                has_diff = has_diff or field.number == _RAW_DIFF
            elif field.number in _VALUE_FIELDS:
                width, is_data = _VALUE_FIELDS[field.number]
                has_diff = has_diff or not is_data
                if field.wire_type == LEN:
                    size = field.end - field.start
                    if size % width:
                        raise Damage(field.offset, f"{size} bytes of values are no multiple of {width}")
                    segment = Segment(field.start, size // width, width, width)
                else:  # unpacked: one tag a value. Take the whole run at once.
                    expect(field, I32 if width == 4 else I64, "blob values")
                    run = _run_length(buffer, field.offset, end, width + 1)
                    segment = Segment(field.offset + 1, run, width + 1, width)
                    restart = field.offset + run * (width + 1)
                if is_data:
                    segments[width].append(segment)
                if restart is not None and restart != field.end:
                    break
                restart = None
        if restart is None:
            break
        position = restart
    used = segments[8] if any(segment.count for segment in segments[8]) else segments[4]
    shape = tuple(legacy_dims) if legacy else tuple(dims)
    if raw is not None and not any(segment.count for segment in used):
        kind = check_raw(_count(shape), raw_type, raw.end - raw.start)
        width = RAW_WIDTHS[kind]
        return BlobEntry(shape, legacy, [Segment(raw.start, _count(shape), width, width)], kind)
    _check_shape(shape, legacy, has_shape, sum(segment.count for segment in used), has_diff)
    return BlobEntry(shape, legacy, used)


def check_raw(count: int, kind: int | None, size: int) -> str:
    """The name of the type of a blob's raw values; WeightsError where they cannot be its values.

    count   values that the blob's shape has
    kind    of its raw_data_type; None where it has none
    size    bytes of its raw_data
    """
    if kind is None:
        raise WeightsError("raw_data without a raw_data_type (DOUBLE, FLOAT or FLOAT16): it is damaged")
    name = _TYPES[kind]
    if name not in RAW_WIDTHS:
        raise WeightsError(
            f"raw_data of the type {name}; as in NVIDIA Caffe only {', '.join(RAW_WIDTHS)} are parameters"
        )
    if size != count * RAW_WIDTHS[name]:
        raise WeightsError(
            f"raw_data of {size} bytes; its shape needs {count} values of the type {name}, that is "
            f"{count * RAW_WIDTHS[name]} bytes"
        )
    return name


def _check_axes(found: int) -> None:
    if found > MAX_AXES:
        raise WeightsError(f"the shape has more than {MAX_AXES} axes, Caffe's limit")


def raw_values(data: bytes, kind: int | None, shape: tuple[int, ...]) -> np.ndarray:
    """The raw values of a BlobProto in memory, in one axis. WeightsError: see ``check_raw``."""
    name = check_raw(_count(shape), kind, len(data))
    return np.frombuffer(data, f"<f{RAW_WIDTHS[name]}")


def _count(shape: tuple[int, ...]) -> int:
    """Values of a shape; WeightsError for one that no blob has."""
    if any(dim < 0 for dim in shape):
        raise WeightsError(f"the shape {shape} has a negative dimension")
    count = 1
    for dim in shape:
        count *= dim
    if count > INT_MAX:
        raise WeightsError(f"the shape {shape} has {count} values; the limit is {INT_MAX}")
    return count


def _check_shape(shape: tuple[int, ...], legacy: bool, has_shape: bool, found: int, has_diff: bool) -> None:
    count = _count(shape)
    if found == 0 and count > 0:
        kind = "only a diff" if has_diff else "no values"
        raise WeightsError(f"the blob has no data ({kind}); expected {count} values for shape {shape}")
    if count != found:
        given = "num, channels, height, width" if legacy else "shape" if has_shape else "(missing) shape"
        raise WeightsError(f"its {given} {shape} needs {count} values; found {found}")
