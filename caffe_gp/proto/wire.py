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

#: Caffe's limit on the number of values in a blob (and protobuf's on the bytes in a file).
INT_MAX = 2**31 - 1
#: Caffe's limit on the axes of a blob.
MAX_AXES = 32
_LONGEST_VARINT = 10  # bytes
_FIRST_CHUNK, _RUN_CHUNK = 8, 1 << 20


class Segment(NamedTuple):
    """``count`` little-endian values from byte ``start``, ``stride`` apart, ``width`` (4 or 8) bytes each."""

    start: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    stride: int
    width: int


class BlobEntry(NamedTuple):
    """A BlobProto: its shape, whether that came from num/channels/height/width, and where its data lie."""

    shape: tuple[int, ...]
    legacy: bool
    segments: list[Segment]


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


def scan_blob(buffer: Buffer, start: int, end: int, read: Reading = fields) -> BlobEntry:
    """Shape and data segments of the BlobProto buffer[start:end], checked against each other.

    Caffe's rules (Blob::FromProto): any of num/channels/height/width makes the shape 4-D, else
    ``shape`` counts; ``double_data`` is used if there is any, else ``data``. Raises Damage or WeightsError.
    """
    legacy_dims = [0, 0, 0, 0]
    legacy = has_shape = has_diff = False
    dims: list[int] = []
    segments: dict[int, list[Segment]] = {4: [], 8: []}
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
    _check_shape(shape, legacy, has_shape, sum(segment.count for segment in used), has_diff)
    return BlobEntry(shape, legacy, used)


def _check_axes(found: int) -> None:
    if found > MAX_AXES:
        raise WeightsError(f"the shape has more than {MAX_AXES} axes, Caffe's limit")


def _check_shape(shape: tuple[int, ...], legacy: bool, has_shape: bool, found: int, has_diff: bool) -> None:
    if any(dim < 0 for dim in shape):
        raise WeightsError(f"the shape {shape} has a negative dimension")
    count = 1
    for dim in shape:
        count *= dim
    if count > INT_MAX:
        raise WeightsError(f"the shape {shape} has {count} values; the limit is {INT_MAX}")
    if found == 0 and count > 0:
        kind = "only a diff" if has_diff else "no values"
        raise WeightsError(f"the blob has no data ({kind}); expected {count} values for shape {shape}")
    if count != found:
        given = "num, channels, height, width" if legacy else "shape" if has_shape else "(missing) shape"
        raise WeightsError(f"its {given} {shape} needs {count} values; found {found}")
