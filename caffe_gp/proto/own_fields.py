"""Fields of LayerParameter that a program adds for layer types of its own.

    add("gain_param", "GainParameter", "1 factor float = 1; 2 axis int32 = 1")

For protobuf they are extensions, which can be added while a program runs: classes and messages that are there
stay as they are. Its text format has them in brackets, ``[gain_param] { factor: 2 }``. Prototxts have them as
any other field: brackets are put in where one is read, and taken out where one is written.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

from google.protobuf import descriptor_pb2

from . import messages as pb
from .schema import OWN_FIELDS

_FIELDS: dict[str, Any] = {}  # extensions by name
_KIND = descriptor_pb2.FieldDescriptorProto
_TOKENS = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'?
        | (?P<word>\w+) | (?P<open>[{<]) | (?P<close>[}>])""",
    re.VERBOSE,
)
_WRITTEN = re.compile(r"^(\s*)\[(\w+)\]")


def names() -> list[str]:
    """Of the fields that were added."""
    return list(_FIELDS)


def add(name: str, message: str, notation: str) -> None:
    """Add a field whose value is a message with the fields of ``notation`` (see ``schema.py``).

    Names are taken as they are: whether they are free, and names at all, is the caller's business. ValueError
    for what is not in the notation, or describes no message.
    """
    proto = descriptor_pb2.FileDescriptorProto(name=f"caffe_gp/own/{name}.proto", syntax="proto2")
    proto.dependency.append(pb.FILE_DESCRIPTOR_PROTO.name)
    pb.add_items(proto.message_type.add(name=message), pb.items_of(notation), "", {})
    # By the name alone, so that processes that add other fields, or in another order, understand each other.
    first, behind = OWN_FIELDS
    extension = proto.extension.add(name=name, number=first + zlib.crc32(name.encode()) % (behind - first))
    extension.extendee, extension.type_name = ".caffe.LayerParameter", f".{message}"
    extension.type, extension.label = _KIND.TYPE_MESSAGE, _KIND.LABEL_OPTIONAL
    try:
        pb.POOL.AddSerializedFile(proto.SerializeToString())
        found = pb.POOL.FindFileByName(proto.name)
        pb.message_class(found.message_types_by_name[message])
        _FIELDS[name] = found.extensions_by_name[name]
    except TypeError as error:  # what protobuf says of descriptions that make no sense
        raise ValueError(str(error).splitlines()[-1].strip()) from None


def value(layer: Any, name: str) -> Any:
    """The message in the field ``name`` of a LayerParameter; one of defaults where the layer has none."""
    return layer.Extensions[_FIELDS[name]]


def of(layer: Any) -> list[str]:
    """The fields that a LayerParameter has of those that were added."""
    return [field.name for field, _ in layer.ListFields() if field.is_extension]


def bracketed(text: str) -> str:
    """A prototxt as protobuf reads it."""
    if not any(name in text for name in _FIELDS):
        return text
    parts: list[str] = []
    blocks: list[str] = []
    done, word = 0, ""
    for token in _TOKENS.finditer(text):
        if token.group("open"):
            blocks.append(word)
        elif token.group("close"):
            del blocks[-1:]
        word = token.group("word") or ""
        if word in _FIELDS and blocks[-1:] == ["layer"]:
            parts += [text[done : token.start()], f"[{word}]"]
            done = token.end()
    return "".join([*parts, text[done:]])


def column(line: str, column: int) -> int:
    """The column in the user's text of one in a line of ``bracketed`` text; both count from 1."""
    return column - 2 * sum(name in _FIELDS for name in re.findall(r"\[(\w+)\]", line[: column - 1]))


def unbracketed(line: str) -> str:
    """A line as protobuf writes it, as a prototxt has it."""
    found = _WRITTEN.match(line)
    if found and found.group(2) in _FIELDS:
        return f"{found.group(1)}{found.group(2)}{line[found.end() :]}"
    return line
