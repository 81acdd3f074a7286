"""Edits of the JSON values in a run's folder, as a hand or a fuzzer makes them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Iterator

GONE = object()
VALUES: tuple[Any, ...] = (
    None, True, -1, 10**30, 0.5, float("nan"), float("inf"), "", "../../x",
    "\x1b[2J", "\ud800", [], [[1]], {}, GONE,
)  # fmt: skip


def places(value: Any, place: tuple = ()) -> Iterator[tuple]:
    """Where the values of a JSON value lie; of a list's, the first two."""
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value[:2])
    for name, inner in inside:
        yield (*place, name)
        yield from places(inner, (*place, name))


def edited(value: Any, place: tuple, new: Any) -> Any:
    """A copy with another value at a place; GONE takes it out."""
    value = inner = copy.deepcopy(value)
    for name in place[:-1]:
        inner = inner[name]
    if new is GONE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = new
    return value


def edits_of(value: Any) -> Iterator[tuple[str, Any]]:
    """(name, edited copy) of every place and value; lists also with a value twice, or one fewer."""
    for place in places(value):
        inner = value
        for name in place:
            inner = inner[name]
        news = [*VALUES, inner + 1] if type(inner) is int else list(VALUES)
        if isinstance(inner, list) and inner:
            news += [inner + inner[:1], inner[:-1]]
        for new in news:
            what = "gone" if new is GONE else json.dumps(new)[:30]
            yield f"{'.'.join(map(str, place))} = {what}", edited(value, place, new)


def lines_of(path: Path) -> list[Any]:
    """The JSON values of a file: one a line in a file of records, else one."""
    text = path.read_text()
    return [json.loads(one) for one in (text.splitlines() if path.suffix == ".jsonl" else [text])]


def write(path: Path, lines: list[Any]) -> None:
    """Write such a file again."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
