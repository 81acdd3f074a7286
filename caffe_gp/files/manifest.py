"""What a package's manifest.json lists, with entries of one's own in their place, checked before use."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from pathlib import Path
from typing import Any, Callable, Mapping, TypeVar
from urllib.parse import urlsplit

from caffe_gp.errors import DataError
from caffe_gp.files.json_files import read_json
from caffe_gp.files.packed import is_inside

T = TypeVar("T")
_SHOWN = 40  # characters of a value in a message


def entries(path: Path, variable: str, field: str) -> list[tuple[str, dict[str, Any]]]:
    """(where, object) of the list ``field`` of the manifest at ``path``, then of ``variable``'s.

    Later entries take the place of earlier ones of the same name. Raises DataError, naming file and entry.
    """
    paths = [path, Path(os.environ[variable])] if os.environ.get(variable) else [path]
    found = []
    for one in paths:
        content = read_json(one, f"expected a manifest of {field}; {variable} names it")
        listed = content.get(field) if isinstance(content, dict) else None
        if not isinstance(listed, list):
            raise DataError(f"{one}: expected an object with a list, '{field}'; {variable} names it")
        found += [(f"{one}, {field}[{number}]", entry) for number, entry in enumerate(listed)]
    return found


def record(kind: type[T], entry: Any, where: str, made: Mapping[str, Any] | None = None) -> T:
    """The dataclass ``kind`` of an object in a manifest.

    made   the values of the fields that are objects themselves
    Raises DataError, naming the field, for one that is missing, unknown or of another type, for paths that
    lead out of their folder, addresses that are none, and for control characters.
    """
    if not isinstance(entry, dict):
        raise DataError(f"{where}: expected an object, found {_shown(entry)}")
    values, made = {}, made or {}
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in entry:
        if name not in fields:
            raise DataError(f"{where}: unknown field {_shown(name)} (known: {', '.join(fields)})")
    for name, field in fields.items():
        has_default = (field.default, field.default_factory) != (dataclasses.MISSING,) * 2
        if name in made:
            values[name] = made[name]
        elif name in entry:
            values[name] = _checked(name, str(field.type), entry[name], where)
        elif not has_default:
            raise DataError(f"{where}: '{name}' is missing")
    return kind(**values)


def objects(entry: Any, name: str, where: str) -> list[Any]:
    """The list ``name`` of an object, which may lack it. DataError for anything else."""
    listed = entry.get(name, []) if isinstance(entry, dict) else None
    if not isinstance(listed, list):
        raise DataError(f"{where}, '{name}': expected a list, found {_shown(listed)}")
    return listed


def _checked(name: str, kind: str, value: Any, where: str) -> Any:
    kind, _, optional = kind.partition(" | ")
    if value is None and optional:
        return None
    expected, fits = _KINDS[kind]
    if not fits(value):
        raise DataError(f"{where}, '{name}': expected {expected}, found {_shown(value)}")
    for what, texts in ((name, _keys(value)), (f"{name} values", _texts(value))):
        expected, fits = _FORMS.get(what, ("no control characters", lambda text: True))
        for text in texts:
            if not text.isprintable() or not fits(text):
                raise DataError(f"{where}, '{name}': expected {expected}, found {_shown(text)}")
    return tuple(value) if isinstance(value, list) else value


def _keys(value: Any) -> list[str]:
    """The texts that a field's own rule is for: the keys of an object, else all."""
    return list(value) if isinstance(value, dict) else _texts(value)


def _texts(value: Any) -> list[str]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return [text for text in inside if isinstance(text, str)]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text[:_SHOWN] + ("..." if len(text) > _SHOWN else "")


# ---- what values may be


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 50


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _all(value: Any, container: type, fits: Callable[[Any], bool]) -> bool:
    if not isinstance(value, container):
        return False
    items: Any = value.values() if isinstance(value, dict) else value
    return all(map(fits, items))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", _is_text),
    "int": ("a whole number, 0 or more", _is_count),
    "float": ("a number", _is_number),
    "bool": ("true or false", lambda value: type(value) is bool),
    "tuple[str, ...]": ("a list of texts", lambda value: _all(value, list, _is_text)),
    "dict[str, str]": ("an object of texts", lambda value: _all(value, dict, _is_text)),
    "dict[str, int]": ("an object of whole numbers", lambda value: _all(value, dict, _is_count)),
}


def _is_name(text: str) -> bool:
    return is_inside(text) and "/" not in text and len(text) <= 200


def _is_address(text: str) -> bool:
    try:
        return urlsplit(text).scheme in ("http", "https") and bool(urlsplit(text).hostname)
    except ValueError:
        return False


def _hash(digits: int) -> tuple[str, Callable[[str], bool]]:
    return f"{digits} digits 0-9 a-f", lambda text: bool(re.fullmatch(f"[0-9a-f]{{{digits}}}", text))


_INSIDE = ("a path in its folder, without '..'", is_inside)
_NAME = ("the name of a file, without '/'", _is_name)
_ADDRESS = ("an http:// or https:// address", _is_address)
# By the field's name, which means the same everywhere.
_FORMS: dict[str, tuple[str, Callable[[str], bool]]] = {
    **dict.fromkeys(("name", "file"), _NAME),
    **dict.fromkeys(("target", "take", "take values", "counts", "members", "drawn"), _INSIDE),
    **dict.fromkeys(("urls", "pages"), _ADDRESS),
    **dict.fromkeys(("md5", "content_md5", "members values"), _hash(32)),
    **{"sha1": _hash(40), "sha256": _hash(64)},
}
