"""What a record of a run over images must be, whoever wrote the file: checked line by line as it is read."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping

from caffe_gp.errors import DataError

_MOST_CLASSES = 1 << 12  # a matrix of so many has 134 MB
_MOST = 1 << 31  # pixels, classes squared, seconds
# What reading numbers out of edited records raises.
_EDITED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError)


def check_image_record(head: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """KeyError, TypeError or ValueError for a record that does not go with the first line ``head``."""
    eps, classes = head["key"]["eps"], _integer(head["classes"], 1, _MOST_CLASSES)
    _need(isinstance(eps, list) and all(_number(value) is not None for value in eps))
    _need(isinstance(head["made"], dict))
    for name in ("width", "height"):
        _integer(record[name], 1, _MOST)
    _need(isinstance(record["image_sha256"], str))
    suffixes = ["", "_crf"] if "base_crf" in record else [""]
    for suffix in suffixes:
        entries = record[f"gp{suffix}"]
        _need(isinstance(entries, list) and len(entries) == len(eps))
        for entry in [record[f"base{suffix}"], *entries]:
            _check_entry(entry, classes)
    _need(isinstance(record["seconds"], dict))
    for value in record["seconds"].values():
        _number(value)


def _check_entry(entry: Mapping[str, Any], classes: int) -> None:
    """One labelling of an image: its counts and numbers."""
    if "confidence" in entry:
        _number(entry["confidence"])
    for name in ("changed_pixels", "fixed_pixels", "broken_pixels"):
        _integer(entry.get(name, 0), 0, _MOST)
    for truth, label, count in entry.get("confusion", ()):
        _integer(truth, 0, classes - 1)
        _integer(label, 0, classes - 1)
        _integer(count, 0, _MOST)


def _need(holds: bool) -> None:
    if not holds:
        raise ValueError("not what such a record holds")


def _integer(value: Any, least: int, most: int) -> int:
    _need(type(value) is int and least <= value <= most)
    return int(value)


def _number(value: Any) -> float:
    _need(type(value) in (int, float) and abs(value) < _MOST and math.isfinite(value))
    return float(value)


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """DataError, naming a run's folder, where its records and first lines do not go together."""
    try:
        yield
    except _EDITED as error:
        raise DataError(
            f"{folder}: its records do not go together ({type(error).__name__}: {error}), as where a "
            "file was edited: remove the folder 'records' to compute them again"
        ) from None
