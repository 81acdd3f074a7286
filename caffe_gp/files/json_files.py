"""JSON files: written whole, read with errors that name them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_text


def dumps(content: Any) -> str:
    """The text of a JSON file: one value a line, a final line end."""
    return json.dumps(content, indent=1) + "\n"


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write a JSON file; it appears when it is whole."""
    write_text(path, dumps(content))


def read_json(path: str | os.PathLike, what: str) -> Any:
    """What a JSON file holds. DataError if it is missing or damaged; ``what`` says what it should be."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable ({error}); {what}") from None
