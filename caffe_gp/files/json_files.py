"""JSON files: written whole, read with errors that name them, whoever wrote them."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_text
from caffe_gp.files.regular import read_regular

# Of results, keys, manifests: the results of 10,000 images with all numbers of each have some 10 MB.
MAX_JSON_BYTES = 64 << 20
MAX_DEPTH = 32  # of lists in lists: what is written here has six
# Values take more memory than their text, an empty list twenty times as much.
MAX_VALUES = 8_000_000
_LIST, _OBJECT = 2, 8  # values that take the memory of an empty one
_LONG_NUMBER = re.compile(rb"[0-9]{400}")  # takes older Pythons time beyond all proportion


def dumps(content: Any) -> str:
    """The text of a JSON file: one value a line, a final line end."""
    return json.dumps(content, indent=1) + "\n"


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write a JSON file; it appears when it is whole."""
    write_text(path, dumps(content))


def loads(content: bytes) -> Any:
    """What a JSON text holds. ValueError for none, one too deep or too big, or a field named twice."""
    if _LONG_NUMBER.search(content):
        raise ValueError("a number of 400 digits or more")
    if content.count(b",") + _LIST * content.count(b"[") + _OBJECT * content.count(b"{") > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_object)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from None
    _check_depth(found)
    return found


_TOO_DEEP = f"lists or objects in each other, more than {MAX_DEPTH} deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object that names a field twice")
    return found


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        inside = (outer.values() if isinstance(outer, dict) else outer for outer in level)
        level = [one for several in inside for one in several if isinstance(one, (dict, list))]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def read_json(path: str | os.PathLike, what: str) -> Any:
    """What a JSON file holds. DataError if it is missing or damaged; ``what`` says what it should be."""
    try:
        return loads(read_regular(path, MAX_JSON_BYTES))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable ({error}); {what}") from None


def read_object(path: str | os.PathLike, what: str) -> dict[str, Any]:
    """``read_json`` for a file of one object; DataError for anything else."""
    found = read_json(path, what)
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected an object, found a {type(found).__name__}; {what}")
    return found
