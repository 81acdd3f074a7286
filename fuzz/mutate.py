"""Mutation that knows the grammar: edits fields of a protobuf message, or values of a JSON document.

Bytes that are changed at random hardly ever stay a net; a net with one field changed does.
"""

from __future__ import annotations

import json
import random
from typing import Any, Callable, Sequence

from google.protobuf.descriptor import FieldDescriptor

from caffe_gp.caffe import layer_type_list

_MOST_EDITS = 4
_MOST_LAYERS = 40  # a longer net finds nothing that a short one does not, and takes longer
_INTEGERS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 33, 255, 256, 1000, 46341, 65536, 2**31 - 1, 2**32 - 1, 2**62)
_NUMBERS = (0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, 3.4e38, float("inf"), float("-inf"), float("nan"))
_STRINGS = (
    *("", "data", "out", "\n", "a" * 1200, "${HOME}", "../x", "/dev/zero", "/", "\0", "größe", "{", "1"),
    *("constant", "gaussian", "xavier", "msra", "uniform", "bilinear", "positive_unitball", "fixed", "poly"),
)
_JSON: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**31,
    2**63,
    1e308,
    float("nan"),
    "",
    "item",
    "0",
    [],
    {},
    [[]],
)

Edit = Callable[[Any, random.Random], None]


# ---- messages


def message(text: bytes, kind: Any, seed: int, most: int) -> bytes:
    """A message with a few edits; the text itself where it is none, or would grow beyond ``most`` bytes."""
    chance = random.Random(seed)
    try:
        found = kind.FromString(text)
        for _ in range(chance.randint(1, _MOST_EDITS)):
            _edit_net(found, chance) if _is_net(found) and chance.random() < 0.5 else _edit(found, chance)
    except Exception:  # damaged: protobuf's DecodeError, or UnicodeDecodeError when a text in it is looked at
        return text
    if _is_net(found):
        del found.layer[_MOST_LAYERS:], found.layers[_MOST_LAYERS:]
    changed = found.SerializePartialToString()
    return changed if len(changed) <= most else text


def crossed(one: bytes, other: bytes, kind: Any, seed: int, most: int) -> bytes:
    """The layers of one net behind some of another's."""
    chance = random.Random(seed)
    try:
        first, second = kind.FromString(one), kind.FromString(other)
    except Exception:
        return one
    if _is_net(first):
        del first.layer[chance.randint(0, len(first.layer)) :]
        first.layer.extend(list(second.layer)[:_MOST_LAYERS])
    else:
        first.MergeFrom(second)
    changed = first.SerializePartialToString()
    return changed if len(changed) <= most else one


def _is_net(found: Any) -> bool:
    return found.DESCRIPTOR.name == "NetParameter"


def _edit(found: Any, chance: random.Random) -> None:
    """Change one field, somewhere in the tree."""
    while True:
        inner = [one for field, value in found.ListFields() for one in _messages(field, value)]
        if not inner or chance.random() < 0.3:
            break
        found = chance.choice(inner)
    fields = found.DESCRIPTOR.fields
    used = [field for field, _ in found.ListFields()]
    field = chance.choice(used if used and chance.random() < 0.6 else fields)
    if chance.random() < 0.15:
        found.ClearField(field.name)
    elif is_repeated(field):
        _edit_repeated(getattr(found, field.name), field, chance)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        getattr(found, field.name).SetInParent()
    else:
        setattr(found, field.name, _value(field, chance))


def _messages(field: Any, value: Any) -> Sequence[Any]:
    if field.type != FieldDescriptor.TYPE_MESSAGE:
        return ()
    return value if is_repeated(field) else (value,)


def is_repeated(field: Any) -> bool:
    """Whether a field holds a list."""
    return bool(field.is_repeated)


def _edit_repeated(values: Any, field: Any, chance: random.Random) -> None:
    what = chance.randrange(4)
    at = chance.randrange(len(values)) if len(values) else -1
    if what == 0 and at >= 0:
        del values[at]
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        copy = values.add()
        if at >= 0 and what == 1:
            copy.CopyFrom(values[at])
    elif what == 1 and at >= 0:
        values.append(values[at])
    elif what == 2 and at >= 0:
        values[at] = _value(field, chance)
    else:
        values.append(_value(field, chance))


def _value(field: Any, chance: random.Random) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return chance.choice(field.enum_type.values).number
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = chance.choice(_STRINGS)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return chance.choice(_NUMBERS)
    least, most = _RANGES[kind]
    number = chance.choice(_INTEGERS) * chance.choice((1, 1, 1, -1))
    return min(most, max(least, number))


_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


# ---- what only a net has: blobs that layers hand on


def _edit_net(net: Any, chance: random.Random) -> None:
    if not len(net.layer):
        net.layer.add(name="data", type="Input", top=["data"])
    chance.choice(_NET_EDITS)(net, chance)


def _another_type(net: Any, chance: random.Random) -> None:
    chance.choice(net.layer).type = chance.choice(_TYPES)


def _another_bottom(net: Any, chance: random.Random) -> None:
    layer = chance.choice(net.layer)
    blobs = [top for one in net.layer for top in one.top] or [""]
    if len(layer.bottom) and chance.random() < 0.7:
        layer.bottom[chance.randrange(len(layer.bottom))] = chance.choice(blobs)
    else:
        layer.bottom.append(chance.choice(blobs))


def _in_place(net: Any, chance: random.Random) -> None:
    layer = chance.choice(net.layer)
    if len(layer.bottom) and len(layer.top):
        layer.top[0] = layer.bottom[0]


def _one_more_layer(net: Any, chance: random.Random) -> None:
    blobs = [top for one in net.layer for top in one.top] or ["data"]
    layer = net.layer.add(name=f"l{len(net.layer)}", type=chance.choice(_TYPES))
    layer.bottom.extend(chance.choice(blobs) for _ in range(chance.choice((1, 1, 1, 2, 3))))
    layer.top.append(f"t{len(net.layer)}")


def _one_less_layer(net: Any, chance: random.Random) -> None:
    del net.layer[chance.randrange(len(net.layer))]


def _another_shape(net: Any, chance: random.Random) -> None:
    inputs = [layer for layer in net.layer if layer.type == "Input"]
    if inputs:
        param = chance.choice(inputs).input_param
        shape = chance.choice(param.shape) if len(param.shape) else param.shape.add()
        del shape.dim[:]
        shape.dim.extend(
            chance.choice((0, 1, 1, 2, 3, 8, 9)) for _ in range(chance.choice((4, 4, 4, 0, 1, 2, 3, 5)))
        )


_NET_EDITS: tuple[Edit, ...] = (
    _another_type, _another_bottom, _in_place, _one_more_layer, _one_less_layer, _another_shape,
)  # fmt: skip
_TYPES = [name for name in layer_type_list() if name != "Python"]


# ---- JSON


def documents(text: bytes, seed: int, most: int) -> bytes:
    """Lines of JSON with a few values changed; other lines stay, or change places."""
    chance = random.Random(seed)
    lines: list[bytes] = text.split(b"\n")
    for _ in range(chance.randint(1, _MOST_EDITS)):
        at = chance.randrange(len(lines))
        try:
            content = json.loads(lines[at])
        except ValueError:
            lines[at] = chance.choice(lines)
            continue
        lines[at] = json.dumps(_edited(content, chance)).encode()
    changed = b"\n".join(lines)
    return changed if len(changed) <= most else text


def _edited(content: Any, chance: random.Random) -> Any:
    """A JSON value with one of the values in it changed."""
    keys: list[Any] = []
    if isinstance(content, dict):
        keys = list(content)
    elif isinstance(content, list):
        keys = list(range(len(content)))
    if not keys or chance.random() < 0.1:
        return chance.choice(_JSON)
    key, what = chance.choice(keys), chance.random()
    if what < 0.1:
        del content[key]
    elif what < 0.2 and isinstance(content, list):
        content.append(content[key])
    else:
        content[key] = _edited(content[key], chance)
    return content
