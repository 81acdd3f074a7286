"""Hashes of files and texts."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Sequence

from caffe_gp.files.regular import open_regular


def digests(path: str | os.PathLike, algorithms: Sequence[str]) -> dict[str, str]:
    """Hexadecimal hashes of a file by algorithm (hashlib's names), read once."""
    hashes = {name: hashlib.new(name) for name in algorithms}
    with open_regular(path) as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            for value in hashes.values():
                value.update(chunk)
    return {name: value.hexdigest() for name, value in hashes.items()}


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return digests(path, ["sha256"])["sha256"]


def sha256_of_text(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_of_array(values: Any) -> str:
    """SHA-256 of an array's type, shape and values, in hexadecimal."""
    head = f"{values.dtype.str} {values.shape} ".encode()
    return hashlib.sha256(head + values.tobytes()).hexdigest()
