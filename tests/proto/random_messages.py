"""Messages with random values in random fields, for tests of the text format."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

# What could be taken for the text format's own.
STRINGS = (
    *("", "conv1", " { ", "layer {", "}", "name: 1", "# no comment", "two\nlines\n}", "tab\t", "\x0b\x85"),
    *('"quoted"', "it's", "back\\slash", "größe", "\u2028", "a" * 120),
)


def fill(message: Any, random: np.random.RandomState, depth: int = 4) -> Any:
    """Set about a quarter of the fields of a message, and of the messages in it; the message."""
    for field in message.DESCRIPTOR.fields:
        is_message = field.type == FieldDescriptor.TYPE_MESSAGE
        if random.rand() > 0.25 or is_message and not depth:
            continue
        repeated = _is_repeated(field)
        for _ in range(random.randint(1, 4) if repeated else 1):
            if is_message:
                holder = getattr(message, field.name)
                inner = holder.add() if repeated else holder
                inner.SetInParent()
                fill(inner, random, depth - 1)
            elif repeated:
                getattr(message, field.name).append(_value(field, random))
            else:
                setattr(message, field.name, _value(field, random))
    return message


def _is_repeated(field: Any) -> bool:
    if hasattr(field, "is_repeated"):  # protobuf >= 6.31; the label left with 7
        return bool(field.is_repeated)
    return bool(field.label == FieldDescriptor.LABEL_REPEATED)


def _value(field: Any, random: np.random.RandomState) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return field.enum_type.values[random.randint(len(field.enum_type.values))].number
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = STRINGS[random.randint(len(STRINGS))]
        return text.encode("utf-8") if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return bool(random.randint(2))
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return float(np.float32(random.choice([0.0, -1.5, 1e-30, 0.1, 3e38, random.randn()])))
    unsigned = kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return int(random.randint(0 if unsigned else -(2**31), 2**31))
