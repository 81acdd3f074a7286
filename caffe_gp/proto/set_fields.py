"""The fields of a message that somebody has set."""

from __future__ import annotations

from typing import Any


def set_fields(message: Any) -> dict[str, Any]:
    """Name -> value of the set fields of a message, none of which holds another."""
    return {field.name: value for field, value in message.ListFields()}
