"""JSON files: written whole, read with errors that name them."""

from __future__ import annotations

import json
import os
from typing import Any

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_text
from caffe_gp.files.regular import read_regular

# Of results, keys, manifests: the results of 10,000 images with all numbers of each have some 10 MB.
MAX_JSON_BYTES = 64 << 20


def dumps(content: Any) -> str:
    """The text of a JSON file: one value a line, a final line end."""
    return json.dumps(content, indent=1) + "\n"


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write a JSON file; it appears when it is whole."""
    write_text(path, dumps(content))


def read_json(path: str | os.PathLike, what: str) -> Any:
    """What a JSON file holds. DataError if it is missing or damaged; ``what`` says what it should be."""
    try:
        return json.loads(read_regular(path, MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable ({error}); {what}") from None
