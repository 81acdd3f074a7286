"""Protobuf's wire format: the fields of a message, found without building objects.

Format: https://protobuf.dev/programming-guides/encoding/ (a tag is ``number << 3 | wire type``).
"""

from __future__ import annotations

import mmap
from typing import Callable, Iterator, NamedTuple, Union

Buffer = Union[bytes, mmap.mmap]

VARINT, I64, LEN, I32 = 0, 1, 2, 5


class Damage(Exception):
    """What is wrong at which byte; the reader adds the file and, where known, the layer and blob."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(f"byte offset {offset}: {why}")


class Field(NamedTuple):
    """One field: number, wire type, offset of its tag, and its payload buffer[start:end]."""

    number: int
    wire_type: int
    offset: int
    start: int
    end: int
    value: int  # of a varint; 0 otherwise


#: What ``fields`` is, and whatever stands for it.
Reading = Callable[[Buffer, int, int], Iterator[Field]]


def read_varint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """(value, position after it) of the varint at ``position``. Raises Damage."""
    value = shift = 0
    start = position
    while position < end:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift >= 70:
            raise Damage(start, "a varint of more than 10 bytes")
    raise Damage(start, "the data end inside a varint: truncated or damaged")


def fields(buffer: Buffer, start: int, end: int) -> Iterator[Field]:
    """The fields of the message buffer[start:end], in file order. Raises Damage with the offset."""
    position = start
    while position < end:
        offset = position
        tag, position = read_varint(buffer, position, end)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or number > 0x1FFFFFFF:
            raise Damage(offset, f"invalid field number {number}")
        value = 0
        if wire_type == VARINT:
            payload = position
            value, position = read_varint(buffer, position, end)
        elif wire_type in (I64, I32, LEN):
            if wire_type == LEN:
                length, position = read_varint(buffer, position, end)
            else:
                length = 8 if wire_type == I64 else 4
            payload = position
            position += length
            if position > end:
                raise Damage(
                    offset,
                    f"field {number} should be {length} bytes long but only {end - payload} "
                    "bytes are left: the file is truncated or damaged",
                )
        else:
            raise Damage(offset, f"invalid wire type {wire_type} (field {number})")
        yield Field(number, wire_type, offset, payload, position, value)


def expect(field: Field, wire_type: int, what: str) -> None:
    """Raise Damage unless ``field`` has the wire type its meaning needs."""
    if field.wire_type != wire_type:
        raise Damage(field.offset, f"invalid wire type {field.wire_type} for {what} (expected {wire_type})")
