"""A run's records on disk: one JSON line an item, so that an interrupted run goes on where it stopped.

The first line holds the key, every setting that the numbers depend on. A run with another key refuses to
continue. Each record is flushed to the disk when it is written; a line torn by a crash is dropped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterator

from caffe_gp.errors import DataError


class Records:
    """The records of one run, by item name. Use it as a context manager."""

    def __init__(self, path: str | os.PathLike, key: dict[str, Any]) -> None:
        """Open ``path``, reading what is there; DataError names the field in which the keys differ."""
        self.path = Path(path)
        self.key: dict[str, Any] = json.loads(json.dumps(key))  # as it will read back
        self._records: dict[str, dict[str, Any]] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._read() if self.path.exists() else 0
        self._file = open(self.path, "ab")
        self._file.truncate(whole)
        if not whole:
            self._write({"key": self.key})

    def _read(self) -> int:
        """Take over the whole lines of the file; returns how many bytes they are."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                entry = json.loads(line.decode("utf-8"))
                if number == 1:
                    self._check_key(entry["key"])
                else:
                    self._records[entry["item"]] = entry
            except (ValueError, KeyError, TypeError):
                raise DataError(
                    f"{self.path}, line {number}: not a record of this tool; remove the file to start again"
                ) from None
        return whole

    def _check_key(self, found: dict[str, Any]) -> None:
        if found == self.key:
            return
        for name in [*self.key, *found]:
            if self.key.get(name) != found.get(name):
                raise DataError(
                    f"{self.path}: the finished part of this run has {name} = {_short(found.get(name))}, now "
                    f"it is {_short(self.key.get(name))}; give another output folder, or remove this one to "
                    "start again"
                )

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
        entry = json.loads(json.dumps({"item": item, **record}))
        self._write(entry)
        self._records[item] = entry

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode("utf-8") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.close()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
