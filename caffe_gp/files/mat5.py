"""Reading MATLAB's files of versions 5 to 7: arrays of numbers, texts, and structures of them.

    read_mat(path, 64 << 20)["GTcls"].items[0]["Segmentation"]      # an array, in MATLAB's shape

scipy's reader believes what a file says of sizes: 200 bytes may ask for terabytes, and some files end the
process. Here an array is as large as the bytes that are there for it. The format is MathWorks' "MAT-File
Format", level 5.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Iterator, Union

import numpy as np

from caffe_gp.files.regular import open_regular

MAX_DEPTH = 8  # structures in structures; the files that are read have 3
MAX_AXES = 8
MAX_VALUES = 100_000  # in structures; a net has some 10 for each layer
MAX_RATIO = 10  # unpacked to packed: weights have some 1.1
SMALL = 64 << 20  # bytes for which the ratio does not matter: label maps have up to 1,000
MAX_FIELD_NAME = 64  # MATLAB's own limit, with the closing zero byte
_HEADER = 128  # bytes
_MATRIX, _COMPRESSED = 14, 15
# Types of stored numbers, and classes of arrays.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {
    **{6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2"},
    **{12: "i4", 13: "u4", 14: "i8", 15: "u8"},
}
_STRUCT, _CHAR = 2, 4
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_COMPLEX = 0x800


class MatError(ValueError):
    """A file that is damaged, or no MATLAB file of these versions."""


@dataclass(frozen=True)
class MatStructs:
    """An array of structures: value by field's name, for each in MATLAB's order."""

    items: list[dict[str, Any]]


#: None stands for what is not read: cells, sparse and complex arrays, functions, objects.
MatValue = Union[np.ndarray, str, MatStructs, None]


def read_mat(path: str | os.PathLike, most_bytes: int) -> dict[str, MatValue]:
    """The variables of a file that has, and unpacks to, at most ``most_bytes``. OSError, MatError."""
    with open_regular(path, most_bytes) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size < _HEADER:
            raise MatError("it ends within its header")
        content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    if bytes(content[:10]) == b"MATLAB 7.3":
        raise MatError("a MATLAB 7.3 file. Save it again in MATLAB with the option -v7")
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None or struct.unpack_from(f"{order}H", content, 124)[0] >> 8 != 1:
        raise MatError("no MATLAB file of versions 5 to 7")
    return _Reader(order, min(most_bytes, max(SMALL, MAX_RATIO * size))).variables(content[_HEADER:])


class _Reader:
    """One file. ``order``: '<' or '>'; ``left``: bytes that may still come out of it."""

    def __init__(self, order: str, left: int) -> None:
        self.order, self.left, self.values = order, left, 0

    def variables(self, content: memoryview) -> dict[str, MatValue]:
        found: dict[str, MatValue] = {}
        for kind, data in self.elements(content):
            if kind == _COMPRESSED:
                ((kind, data),) = self.elements(self.inflated(data), most=1)
            if kind == _MATRIX:
                name, value = self.matrix(data, 0)
                found[name] = value
        return found

    def elements(self, content: memoryview, most: int | None = None) -> Iterator[tuple[int, memoryview]]:
        """(type, data) of the elements that lie one after the other; ``most``: of them, the rest is left."""
        at = 0
        while at < len(content) and most != 0:
            if len(content) - at < 8:
                if any(content[at:]):
                    raise MatError("it ends within the head of an element")
                return
            kind, size = struct.unpack_from(f"{self.order}II", content, at)
            start = at + 8
            if kind >> 16:  # a small one: size and type in one word, up to 4 bytes in the next
                kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
                if size > 4:
                    raise MatError(f"a small element of {size} bytes")
            if size > len(content) - start:
                raise MatError(f"an element of {size} bytes where {len(content) - start} are left")
            yield kind, content[start : start + size]
            end = start + size
            at = end if kind == _COMPRESSED else end + -end % 8
            most = None if most is None else most - 1

    def inflated(self, data: memoryview) -> memoryview:
        inflater = zlib.decompressobj()
        content = inflater.decompress(data, self.left + 1)
        self.take(len(content))
        if not inflater.eof:
            raise MatError("a compressed variable is cut off")
        return memoryview(content)

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise MatError("more comes out of it than such a file may hold")

    def matrix(self, data: memoryview, depth: int) -> tuple[str, MatValue]:
        """(name, value) of an array."""
        if not data:
            return "", np.zeros((0, 0))
        parts = self.elements(data)
        flags = self.numbers(parts, "the flags of an array")
        dims = [int(dim) for dim in self.numbers(parts, "the shape of an array")]
        name = bytes(self.part(parts, "the name of an array")[1]).decode("latin-1")
        if not len(flags) or not 2 <= len(dims) <= MAX_AXES or min(dims) < 0:
            raise MatError(f"an array of the shape {dims[:MAX_AXES]}")
        kind, is_complex = int(flags[0]) & 0xFF, int(flags[0]) & _COMPLEX
        if kind in _CLASSES and not is_complex:
            return name, self.array(parts, dims, _CLASSES[kind])
        if kind == _CHAR:
            return name, self.text(parts)
        if kind == _STRUCT:
            return name, self.structs(parts, math.prod(dims), len(data), depth)
        return name, None

    def array(self, parts: Iterator[tuple[int, memoryview]], dims: list[int], kind: str) -> np.ndarray:
        values = self.numbers(parts, "the values of an array")
        if values.size != math.prod(dims):
            raise MatError(f"an array of the shape {dims} with {values.size} values")
        if values.dtype != np.dtype(kind):
            self.take(values.size * np.dtype(kind).itemsize)
        return values.astype(kind, copy=False).reshape(dims, order="F")

    def text(self, parts: Iterator[tuple[int, memoryview]]) -> str:
        kind, data = self.part(parts, "a text")
        encoding = _TEXTS.get(kind)
        if encoding is None:
            raise MatError(f"a text of type {kind}")
        if encoding in ("utf-16", "utf-32"):
            encoding += "-le" if self.order == "<" else "-be"
        self.take(4 * len(data))
        return bytes(data).decode(encoding, "replace")

    def structs(
        self, parts: Iterator[tuple[int, memoryview]], count: int, size: int, depth: int
    ) -> MatStructs:
        if depth == MAX_DEPTH:
            raise MatError(f"structures in structures, deeper than {MAX_DEPTH}")
        (length,) = self.numbers(parts, "the length of the names of fields")[:1] or (0,)
        names = bytes(self.part(parts, "the names of fields")[1])
        if not 0 < length <= MAX_FIELD_NAME or len(names) % length:
            raise MatError(f"fields with names of {length} bytes")
        fields = [
            names[at : at + length].split(b"\0")[0].decode("latin-1") for at in range(0, len(names), length)
        ]
        if count * max(len(fields), 1) > min(size // 8, MAX_VALUES):  # each has a head of 8 bytes
            raise MatError(f"{count} structures of {len(fields)} fields in {size} bytes")
        return MatStructs([{field: self.value(parts, depth) for field in fields} for _ in range(count)])

    def value(self, parts: Iterator[tuple[int, memoryview]], depth: int) -> MatValue:
        kind, data = self.part(parts, "a field")
        self.values += 1
        if self.values > MAX_VALUES:
            raise MatError(f"more than {MAX_VALUES} values in structures")
        if kind != _MATRIX:
            raise MatError(f"a field of type {kind}")
        return self.matrix(data, depth + 1)[1]

    def numbers(self, parts: Iterator[tuple[int, memoryview]], what: str) -> np.ndarray:
        kind, data = self.part(parts, what)
        stored = _STORED.get(kind)
        if stored is None or len(data) % np.dtype(stored).itemsize:
            raise MatError(f"{what} is of type {kind} with {len(data)} bytes")
        return np.frombuffer(data, self.order + stored) if len(data) else np.zeros(0, stored)

    def part(self, parts: Iterator[tuple[int, memoryview]], what: str) -> tuple[int, memoryview]:
        found = next(parts, None)
        if found is None:
            raise MatError(f"{what} is missing")
        return found
