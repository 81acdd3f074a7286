"""Message classes of the Caffe formats, built at import from ``schema.py``.

    from caffe_gp.proto import messages as pb
    net = pb.NetParameter()
    net.layer.add(name="pool1", type="Pooling").pooling_param.pool = pb.PoolingParameter.AVE

The classes live in a descriptor pool of their own: BVLC's ``caffe_pb2`` (same package and message
names) can be imported in the same process. There is no generated file to fall out of step with the
protobuf runtime; 3.12 and the current releases take the same descriptors.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Iterator

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from . import schema

_FIELD = re.compile(r"(\d+) (\w+) (\w+)([*+!]?)( ignored| refused)?(?: =(?: (\S+))?| (=))?$")
_F = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "int32": _F.TYPE_INT32,
    "int64": _F.TYPE_INT64,
    "uint32": _F.TYPE_UINT32,
    "bool": _F.TYPE_BOOL,
    "float": _F.TYPE_FLOAT,
    "double": _F.TYPE_DOUBLE,
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
}


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Split the schema table into (message name, items), an item being a field or an enum line."""
    name = ""
    items: list[str] = []
    for line in text.splitlines():
        line = line.split("#")[0].rstrip()
        if not line:
            continue
        if not line.startswith(" "):
            if name:
                yield name, items
            name, items = line.strip(), []
        else:
            items.extend(items_of(line))
    yield name, items


def items_of(text: str) -> list[str]:
    """The fields and enum lines of the schema's notation, which ``;`` and line ends separate."""
    lines = (line.split("#")[0] for line in text.splitlines())
    return [item.strip() for line in lines for item in line.split(";") if item.strip()]


def add_items(
    message: descriptor_pb2.DescriptorProto, items: list[str], package: str, marks: dict[str, str]
) -> None:
    """Give a message the enums and fields of ``items``. ValueError for one that is not in the notation.

    package   that the message is in; '' for none. Fields may have messages and enums of 'caffe' as types.
    marks     gets 'ignored' and 'refused' by field
    """
    enums: dict[str, descriptor_pb2.EnumDescriptorProto] = {}
    for item in items:
        if item.startswith("enum "):
            words = item.split()
            if words[1] not in enums:  # a long enum is written over several lines
                enums[words[1]] = message.enum_type.add(name=words[1])
            for word in words[2:]:
                value_name, _, value = word.partition("=")
                enums[words[1]].value.add(name=value_name, number=int(value))
            continue
        match = _FIELD.match(item)
        if match is None:
            raise ValueError(f"cannot read {item!r}")
        tag, name, type_name, mark, word, default, _ = match.groups()
        field = message.field.add(name=name, number=int(tag), label=_F.LABEL_OPTIONAL)
        if mark in ("*", "+"):
            field.label = _F.LABEL_REPEATED
            if mark == "+":
                field.options.packed = True
        elif mark == "!":
            field.label = _F.LABEL_REQUIRED
        if type_name in _SCALARS:
            field.type = _SCALARS[type_name]
        elif type_name in enums:
            field.type = _F.TYPE_ENUM
            field.type_name = f"{package and '.'}{package}.{message.name}.{type_name}"
        else:
            field.type = _F.TYPE_ENUM if type_name in schema.TOP_LEVEL_ENUMS else _F.TYPE_MESSAGE
            field.type_name = f".caffe.{type_name}"
        if " =" in item:
            field.default_value = default or ""
        if word:
            marks[name] = word.strip()


def _file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    proto = descriptor_pb2.FileDescriptorProto(name="caffe_gp/caffe.proto", package="caffe", syntax="proto2")
    for enum_name, values in schema.TOP_LEVEL_ENUMS.items():
        enum = proto.enum_type.add(name=enum_name)
        for value_name, number in values:
            enum.value.add(name=value_name, number=number)
    messages: dict[str, Any] = {}
    for name, items in _blocks(schema.SCHEMA):
        messages[name] = proto.message_type.add(name=name)
        marks: dict[str, str] = {}
        try:
            add_items(messages[name], items, "caffe", marks)
        except ValueError as error:
            raise AssertionError(f"schema.py, message {name}: {error}") from None
        MARKS.update({(name, field): word for field, word in marks.items()})
    _add_fork_fields(messages["V1LayerParameter"], messages["LayerParameter"])
    messages["LayerParameter"].extension_range.add(start=schema.OWN_FIELDS[0], end=schema.OWN_FIELDS[1])
    return proto


def _add_fork_fields(old: Any, today: Any) -> None:
    """Let V1 layers have the forks' fields of today's: they were the same in both dialects."""
    known = {field.name for field in old.field}
    for field in today.field:
        if field.number >= schema.FORK_NUMBERS and field.name not in known:
            old.field.add().CopyFrom(field)
            old.field[-1].number += schema.FORK_NUMBERS


def message_class(descriptor: Any) -> Any:
    """The class of a message of ``POOL``."""
    if hasattr(message_factory, "GetMessageClass"):  # protobuf >= 4.22; the factory object left with 5
        return message_factory.GetMessageClass(descriptor)
    return _FACTORY.GetPrototype(descriptor)


#: (message, field) -> 'ignored' or 'refused', of the forks' fields for which the schema says so.
MARKS: dict[tuple[str, str], str] = {}
FILE_DESCRIPTOR_PROTO = _file_descriptor()
POOL = descriptor_pool.DescriptorPool()
POOL.AddSerializedFile(FILE_DESCRIPTOR_PROTO.SerializeToString())
_FACTORY: Any = None if hasattr(message_factory, "GetMessageClass") else message_factory.MessageFactory(POOL)
DESCRIPTOR = POOL.FindFileByName(FILE_DESCRIPTOR_PROTO.name)

#: All message classes by name, also attributes of this module.
MESSAGES: dict[str, Any] = {
    name: message_class(DESCRIPTOR.message_types_by_name[name]) for name in DESCRIPTOR.message_types_by_name
}
globals().update(MESSAGES)
globals().update({name: number for values in schema.TOP_LEVEL_ENUMS.values() for name, number in values})

if TYPE_CHECKING:  # the classes above are made at import, where a type checker cannot see them
    # ``pb.NetParameter`` and its like are used as types too: they tell a reader what is meant, and are Any.
    def __getattr__(name: str) -> Any: ...
