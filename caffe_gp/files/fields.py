"""Checks of what JSON files of unknown origin hold: each returns the value, or says what was expected.

width = integer(record.get("width"), "width", 1, MOST)     # ValueError: width: expected ..., found none
"""

from __future__ import annotations

import math
from typing import Any

from caffe_gp.errors import quoted

MOST = 1 << 40  # of pixels, images, seconds: their sums stay within 64 bits
_SHA256 = frozenset("0123456789abcdef")


def integer(value: Any, what: str, least: int, most: int = MOST) -> int:
    """A whole number in ``least..most``."""
    if type(value) is not int or not least <= value <= most:
        raise _wrong(value, what, f"a whole number in {least}..{most}")
    return value


def number(value: Any, what: str, least: float = -MOST, most: float = MOST) -> float:
    """A finite number in ``least..most``."""
    if type(value) not in (int, float) or not least <= value <= most:
        raise _wrong(value, what, f"a number in {least:g}..{most:g}")
    return float(value)


def text(value: Any, what: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise _wrong(value, what, "a text")
    return value


def sha256(value: Any, what: str) -> str:
    """A SHA-256 in hexadecimal digits."""
    if not isinstance(value, str) or len(value) != 64 or not _SHA256.issuperset(value):
        raise _wrong(value, what, "a SHA-256")
    return value


def items(value: Any, what: str, count: int | None = None) -> list[Any]:
    """A list, of ``count`` values."""
    if not isinstance(value, list) or count not in (None, len(value)):
        raise _wrong(value, what, "a list" if count is None else f"a list of {count}")
    return value


def mapping(value: Any, what: str) -> dict[str, Any]:
    """An object: names and values."""
    if not isinstance(value, dict):
        raise _wrong(value, what, "an object")
    return value


def need(holds: bool, message: str) -> None:
    """ValueError with this message unless it holds."""
    if not holds:
        raise ValueError(message)


def _wrong(value: Any, what: str, expected: str) -> ValueError:
    return ValueError(f"{what}: expected {expected}, found {_described(value)}")


def _described(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    return str(value) if abs(value) < MOST else "a number beyond all bounds"
