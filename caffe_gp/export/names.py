"""Names and values of a prototxt as Python source: whatever they hold, nothing of them is run."""

from __future__ import annotations

import keyword
import math
import re
from typing import Any, Iterable

_LONGEST = 60  # of an identifier; what makes it unique comes behind


class Identifiers:
    """Python names for the names of a net, each its own: letters, digits and underscores of ASCII.

    reserved   names that mean something else where these are used
    prefix     of names that do not begin with a letter
    """

    def __init__(self, reserved: Iterable[str], prefix: str) -> None:
        self._taken = {*keyword.kwlist, *reserved}
        self._next: dict[str, int] = {}
        self._prefix = prefix

    def new(self, name: str) -> str:
        """An identifier for ``name`` that was not given before."""
        base = re.sub(r"[^0-9A-Za-z]+", "_", name[: 2 * _LONGEST])[:_LONGEST].strip("_")
        if not base[:1].isalpha():
            base = f"{self._prefix}_{base}".rstrip("_")
        found = base
        while found in self._taken:
            number = self._next[base] = self._next.get(base, 1) + 1
            found = f"{base}_{number}"
        self._taken.add(found)
        return found


def literal(value: Any) -> str:
    """Python source of a number, a boolean, None, a string, or of lists, tuples and dictionaries of those."""
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, str):
        return ascii(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(one)}" for key, one in value.items()) + "}"
    items = ", ".join(map(literal, value))
    if isinstance(value, list):
        return f"[{items}]"
    return f"({items},)" if len(value) == 1 else f"({items})"


def called(function: str, *values: Any, **named: Any) -> str:
    """Source of a call; ``function`` is ours, never a file's."""
    return (
        f"{function}({', '.join([*map(literal, values), *(f'{k}={literal(v)}' for k, v in named.items())])})"
    )
