"""Reads the parameters of a MatConvNet net out of a MATLAB 5 file (MATLAB's -v6 and -v7).

The file is mapped; only what the parameters' names and shapes need is looked at, until values are asked for.
(scipy.io.loadmat reads everything at once, and ends the process on some damaged files.)

A file is a row of elements: a tag (kind, size in bytes) and the content, filled up to a multiple of 8 bytes.
A variable is an element that holds others: flags, dimensions, name, then the values, or a structure's field
names and one variable for every field of every entry. It may be compressed as a whole.
Format: MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import Any, Iterator, NamedTuple

import numpy as np

from caffe_gp.errors import WeightsError

_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHAR, _DOUBLE, _SINGLE = 2, 4, 6, 7
# Values are stored in the smallest of these types that holds them, whatever the class of the array.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_HEAD = 1 << 12  # enough of a compressed variable to see its name
_HEADER = 128


class Damage(ValueError):
    """What is wrong with the file."""


class Values(NamedTuple):
    """Where the values of an array lie: buffer[start:end], of a type of numpy, first index fastest."""

    buffer: Any
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int
    end: int

    def array(self) -> np.ndarray:
        """The values as a float32 array of ``shape``."""
        count = (self.end - self.start) // self.dtype.itemsize
        values = np.frombuffer(self.buffer, self.dtype, count, self.start)
        return values.astype(np.float32, copy=False).reshape(self.shape, order="F")


def read_params(path: str, max_bytes: int) -> dict[str, Values]:
    """The parameters of a net by name: params(i).name and .value, at the top or in a variable ``net``.

    Raises WeightsError for MATLAB 7.3 and for variables that claim more than ``max_bytes``; Damage (a
    ValueError) for what cannot be read.
    """
    with open(path, "rb") as stream:
        header = stream.read(_HEADER)
        if header.startswith(b"MATLAB 7.3"):
            raise WeightsError(f"{path}: a MATLAB 7.3 file. Save it again in MATLAB with the option -v7")
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if order is None:
            raise Damage("the header ends neither in IM nor in MI")
        buffer = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    top = _File(buffer, order)
    position = _HEADER
    found = None
    while position < len(buffer):  # to the end, so that a cut-off file is noticed
        element = top.element(position, len(buffer))
        position = element.after
        inside = _uncompressed(top, element, path, max_bytes)
        if inside is not None:
            file, variable = inside
            if variable.name == "net":
                variable = next(file.entries(variable)).get("params", variable)
            found = file.params(variable)
    if found is None:
        raise WeightsError(f"{path}: a MATLAB file without MatConvNet's params(i).name and params(i).value")
    return found


def _uncompressed(
    top: _File, element: _Element, path: str, max_bytes: int
) -> tuple[_File, _Variable] | None:
    """The variable ``params`` or ``net`` and the file to read it from; None if this is another one."""
    if element.kind == _MATRIX:
        variable = top.variable(element.start, element.end)
        return (top, variable) if variable.name in ("params", "net") else None
    if element.kind != _COMPRESSED:
        raise Damage(f"byte offset {element.start}: an element of kind {element.kind} among the variables")
    content = memoryview(top.buffer)[element.start : element.end]
    head = zlib.decompressobj().decompress(content[:_HEAD], _HEAD)
    if len(head) < 8:
        raise Damage(f"byte offset {element.start}: an empty variable")
    kind, size = struct.unpack_from(top.order + "II", head)
    if kind != _MATRIX:
        raise Damage(f"byte offset {element.start}: a compressed element of kind {kind}")
    if _File(head, top.order).variable(8, len(head)).name not in ("params", "net"):
        return None
    if size > max_bytes:
        raise WeightsError(f"{path}: a variable of {size} bytes; a caffemodel ends at {max_bytes}")
    values = zlib.decompressobj().decompress(content, 8 + size + 1)  # to the end and its check sum
    if len(values) < 8 + size:
        raise Damage(f"byte offset {element.start}: a variable of {size} bytes is cut off")
    file = _File(values, top.order)
    return file, file.variable(8, 8 + size)


class _Element(NamedTuple):
    """Kind and content, buffer[start:end], of an element; the next one is at ``after``."""

    kind: int
    start: int
    end: int
    after: int


class _Variable(NamedTuple):
    """An array: its class, whether its values are complex, its shape, its name, where its values start."""

    kind: int
    is_complex: bool
    shape: tuple[int, ...]
    name: str
    start: int
    end: int


class _File:
    """A buffer of elements and their byte order, '<' or '>'."""

    def __init__(self, buffer: Any, order: str) -> None:
        self.buffer, self.order = buffer, order

    def element(self, position: int, end: int) -> _Element:
        """The element at ``position``, which has to end before ``end``."""
        if position + 8 > end:
            raise Damage(f"byte offset {position}: cut off")
        kind, size = struct.unpack_from(self.order + "II", self.buffer, position)
        if kind >> 16:  # up to 4 bytes of content share the 8 with the tag
            kind, size = kind & 0xFFFF, kind >> 16
            start, after = position + 4, position + 8
        else:
            start = position + 8
            after = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > min(after, end):
            raise Damage(f"byte offset {position}: {size} bytes announced, fewer are there: cut off")
        return _Element(kind, start, start + size, after)

    def variable(self, start: int, end: int) -> _Variable:
        """The variable whose content is buffer[start:end]; an empty one stands for []."""
        if start == end:
            return _Variable(_DOUBLE, False, (0, 0), "", end, end)
        flags = self.element(start, end)
        bits = self.numbers(flags)
        if len(bits) != 2:
            raise Damage(f"byte offset {start}: an array without flags")
        kind, is_complex = int(bits[0]) & 0xFF, bool(int(bits[0]) & 0x800)
        if not 1 <= kind <= 15:  # objects and functions, which are laid out otherwise
            return _Variable(kind, False, (0, 0), "", end, end)
        dims = self.element(flags.after, end)
        name = self.element(dims.after, end)
        shape = tuple(self.numbers(dims).tolist())
        if len(shape) < 2 or min(shape) < 0:
            raise Damage(f"byte offset {start}: an array of the shape {shape}")
        return _Variable(kind, is_complex, shape, self.text(name), min(name.after, end), end)

    def numbers(self, element: _Element) -> np.ndarray:
        """A short element's integers."""
        return np.frombuffer(bytes(self.buffer[element.start : element.end]), self.dtype(element))

    def text(self, element: _Element) -> str:
        codes = self.numbers(element)
        return "".join(map(chr, codes.tolist()))

    def dtype(self, element: _Element) -> np.dtype:
        # MATLAB's texts are in UTF-8 or UTF-16; the names of layers are ASCII.
        name = {16: "u1", 17: "u2", **_TYPES}.get(element.kind)
        if name is None or (element.end - element.start) % int(name[1]):
            raise Damage(f"byte offset {element.start}: values of the unknown type {element.kind}")
        return np.dtype(self.order + name)

    def entries(self, variable: _Variable) -> Iterator[dict[str, _Variable]]:
        """The entries of an array of structures: variables by field name."""
        if variable.kind != _STRUCT:
            raise Damage(f"variable '{variable.name}' is of class {variable.kind}, no array of structures")
        length = self.element(variable.start, variable.end)
        names = self.element(length.after, variable.end)
        width = int(self.numbers(length)[0])
        text = self.text(names)
        if not 0 < width <= len(text):
            raise Damage(f"byte offset {length.start}: field names of {width} characters")
        fields = [text[i : i + width].split("\0")[0] for i in range(0, len(text), width)]
        position = names.after
        for _ in range(int(np.prod(variable.shape, dtype=np.float64))):
            entry = {}
            for field in fields:
                element = self.element(position, variable.end)
                if element.kind != _MATRIX:
                    raise Damage(f"byte offset {position}: an element of kind {element.kind}, not an array")
                entry[field] = self.variable(element.start, element.end)
                position = element.after
            yield entry

    def params(self, variable: _Variable) -> dict[str, Values]:
        """The values of an array of structures with the fields name and value."""
        params: dict[str, Values] = {}
        for entry in self.entries(variable):
            if not {"name", "value"} <= set(entry):
                raise Damage(f"structures of {', '.join(entry)}, not of name and value")
            name = self.string(entry["name"])
            if name in params:
                raise Damage(f"two parameters of the name '{name}'")
            params[name] = self.values(entry["value"], name)
        return params

    def string(self, variable: _Variable) -> str:
        if variable.kind != _CHAR:
            raise Damage(f"byte offset {variable.start}: a name that is no text")
        return self.text(self.element(variable.start, variable.end))

    def values(self, variable: _Variable, name: str) -> Values:
        if variable.kind not in (_DOUBLE, _SINGLE) or variable.is_complex:
            raise Damage(f"'{name}' holds values of class {variable.kind}, not floats")
        if variable.start == variable.end:
            return Values(self.buffer, np.dtype("u1"), variable.shape, variable.end, variable.end)
        element = self.element(variable.start, variable.end)
        dtype = self.dtype(element)
        count = (element.end - element.start) // dtype.itemsize
        if count != np.prod(variable.shape, dtype=np.float64):
            raise Damage(f"'{name}', shape {variable.shape}, has {count} values")
        return Values(self.buffer, dtype, variable.shape, element.start, element.end)
