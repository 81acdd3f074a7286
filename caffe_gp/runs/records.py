"""A run's records on disk: one JSON line an item, so that an interrupted run is resumed where it stopped.

The first line of a file holds the key, every setting that the numbers depend on. A run with another key
refuses to continue. Records are on the disk when they are written; a line torn by a crash is dropped.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from caffe_gp.errors import DataError, quoted
from caffe_gp.files import fields
from caffe_gp.files.atomic import naming
from caffe_gp.files.json_files import loads
from caffe_gp.files.regular import open_regular

# A confusion matrix of all 255 classes has at most 1 MB as text, for each eps.
MAX_LINE_BYTES = 16 << 20
_SHOWN = 60  # characters of a setting in a message


def _anything(*lines: Mapping[str, Any]) -> None:
    """No more is asked than that they are lines of a run."""


class Schema(NamedTuple):
    """What the lines of a kind of records hold, whoever wrote them. A ValueError says what does not.

    head     looks at the first line; record: at the first line and another
    shared   fields of the first line that all files of a run have in common
    """

    head: Callable[[Mapping[str, Any]], object] = _anything
    record: Callable[[Mapping[str, Any], Mapping[str, Any]], object] = _anything
    shared: tuple[str, ...] = ()


ANYTHING = Schema()


class RecordWriter:
    """Writes a new file of records; each is on the disk when ``write`` returns."""

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        """``head``: the first line. FileExistsError if there is such a file already."""
        self._path, self._file = path, open(path, "xb")
        self.write(head)

    def write(self, *entries: Mapping[str, Any]) -> None:
        """Append lines, together. DataError for one that could not be read back."""
        lines = [json.dumps(entry).encode("utf-8") + b"\n" for entry in entries]
        if max(map(len, lines), default=0) > MAX_LINE_BYTES:
            raise DataError(
                f"{self._path}: a record of more than {MAX_LINE_BYTES} bytes could not be read back: give "
                "smaller batches or fewer eps"
            )
        with naming(self._path):
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        with naming(self._path):
            self._file.close()


def read_records(path: Path, schema: Schema = ANYTHING) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """First line and records of a file; a torn last line is left out.

    The first line is None in a file that was torn before its end. DataError, naming the line and the field,
    for anything but such a file, and for an item that is there twice: one worker writes a file,
    each item once.
    """
    entries: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, line in enumerate(_lines(path), 1):
        try:
            entry = fields.mapping(loads(line), "the line")
            if number == 1:
                fields.mapping(entry.get("key"), "key")
                schema.head(entry)
            else:
                item = fields.text(entry.get("item"), "item")
                if item in seen:
                    raise ValueError(f"item {quoted(item)} is in this file already")
                seen.add(item)
                schema.record(entries[0], entry)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: not a record of this tool ({error}); remove the file to start again"
            ) from None
        entries.append(entry)
    return (entries[0] if entries else None), entries[1:]


def _lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a file. DataError for one that is no file, and for a line that is no record's."""
    try:
        with open_regular(path) as stream:
            for number in itertools.count(1):
                line = stream.readline(MAX_LINE_BYTES + 1)
                if len(line) > MAX_LINE_BYTES:
                    raise DataError(
                        f"{path}, line {number}: longer than {MAX_LINE_BYTES} bytes, so not a record of this "
                        "tool; remove the file to start again"
                    )
                if not line.endswith(b"\n"):
                    return
                yield line
    except OSError as error:
        raise DataError(f"{path}: not a file of records ({error.strerror or error})") from None


def has_records(path: Path) -> bool:
    """Whether a file holds more than its first line."""
    return len(list(itertools.islice(_lines(path), 2))) == 2


def check_key(path: Path, found: Mapping[str, Any], key: Mapping[str, Any]) -> None:
    """DataError if the settings of a finished part differ from the present ones: names the field."""
    for name in [*key, *found]:
        if key.get(name) != found.get(name):
            before, now = _difference(*(_shown(of, name) for of in (found, key)))
            raise DataError(
                f"{path}: the finished part of this run has {name} = {before}, now it is {now}; give another "
                "output folder, or remove this one to start again"
            )


def as_read_back(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON makes of it."""
    return json.loads(json.dumps(entry))


def _shown(key: Mapping[str, Any], name: str) -> str:
    return json.dumps(key[name]) if name in key else "its default"  # some are noted only where they differ


def _difference(*texts: str) -> list[str]:
    """Texts that differ, cut to what shows it."""
    if max(map(len, texts)) <= _SHOWN:
        return list(texts)
    first = max(0, len(os.path.commonprefix(texts)) - _SHOWN // 3)
    return [
        f"{'...' if first else ''}{text[first : first + _SHOWN]}{'...' if len(text) > first + _SHOWN else ''}"
        for text in texts
    ]
