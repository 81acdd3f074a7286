"""A run's records on disk: one JSON line an item, so that an interrupted run goes on where it stopped.

The first line of a file holds the key, every setting that the numbers depend on. A run with another key
refuses to continue. Each record is flushed to the disk when it is written; a line torn by a crash is dropped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterator

from caffe_gp.errors import DataError


class Records:
    """The records of one run in one file, by item name. Use it as a context manager."""

    def __init__(self, path: str | os.PathLike, key: dict[str, Any]) -> None:
        """Open ``path``, reading what is there; DataError names the field in which the keys differ."""
        self.path = Path(path)
        self.key: dict[str, Any] = as_read_back(key)
        self._records: dict[str, dict[str, Any]] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if self.path.exists():
            head, records, whole = read_records(self.path)
            if head is not None:
                check_key(self.path, head["key"], self.key)
            self._records = {record["item"]: record for record in records}
        self._writer = RecordWriter(self.path, {"key": self.key}, go_on_at=whole)

    def __contains__(self, item: str) -> bool:
        return item in self._records

    def __getitem__(self, item: str) -> dict[str, Any]:
        return self._records[item]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def add(self, item: str, record: dict[str, Any]) -> None:
        """Store the record of a finished item; it is on the disk when this returns."""
        entry = as_read_back({"item": item, **record})
        self._writer.write(entry)
        self._records[item] = entry

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.close()


class RecordWriter:
    """Appends records to a file; each is on the disk when ``write`` returns."""

    def __init__(self, path: Path, head: dict[str, Any], go_on_at: int | None = None) -> None:
        """Make a new file whose first line is ``head``; FileExistsError if there is one already.

        go_on_at   append to the file instead, after this many bytes; 0 starts it anew
        """
        self._file = open(path, "xb" if go_on_at is None else "ab")
        self._file.truncate(go_on_at or 0)
        if not go_on_at:
            self.write(head)

    def write(self, *entries: dict[str, Any]) -> None:
        """Append lines, together."""
        self._file.write(b"".join(json.dumps(entry).encode("utf-8") + b"\n" for entry in entries))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_records(path: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]], int]:
    """First line, records and size in bytes of the whole lines of a file; a torn last line is left out.

    The first line is None in a file that was torn before its end. DataError for anything but such a file.
    """
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    entries = []
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            entry = json.loads(line.decode("utf-8"))
            # Anything else raises one of the errors below.
            _ = {**entry["key"]} if number == 1 else entry["item"]
            entries.append(entry)
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{path}, line {number}: not a record of this tool; remove the file to start again"
            ) from None
    return (entries[0] if entries else None), entries[1:], whole


def check_key(path: Path, found: dict[str, Any], key: dict[str, Any]) -> None:
    """DataError if the settings of a finished part differ from the present ones: names the field."""
    if found == key:
        return
    for name in [*key, *found]:
        if key.get(name) != found.get(name):
            raise DataError(
                f"{path}: the finished part of this run has {name} = {_short(found.get(name))}, now "
                f"it is {_short(key.get(name))}; give another output folder, or remove this one to "
                "start again"
            )


def as_read_back(entry: dict[str, Any]) -> dict[str, Any]:
    """What JSON makes of it."""
    return json.loads(json.dumps(entry))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
