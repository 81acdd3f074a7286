"""The folder of a run.

It holds:

    key.json         every setting that the numbers depend on
    ids.txt          the items, one a line
    records/0.jsonl  a file of each worker process (records.py); a later file's record replaces an earlier's
    .lock            who is at work here
    results.json     scores: a pure function of the records, byte-identical however they were computed
    provenance.json  where, when and how fast the records were computed
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, Sequence, Tuple

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_text
from caffe_gp.files.hashes import sha256_of_text
from caffe_gp.files.json_files import read_json, write_json
from caffe_gp.files.locks import only_here
from caffe_gp.files.regular import MAX_LIST_BYTES, read_regular
from caffe_gp.runs.records import Check, RecordWriter, check_key, has_records, read_records
from caffe_gp.runs.task import Record

Part = Tuple[Dict[str, Any], List[Record]]  # first line and records of one file

_REPORTS = ("results.json", "provenance.json")
_OF_A_RUN = "it belongs to a run's folder"
# What runs of earlier versions kept; they had several kinds of records.
_EARLIER = ("records.jsonl", "unfinished")


def keyed_folder(parent: Path | str, name: str, key: Mapping[str, Any]) -> Path:
    """A folder of ``parent`` for the run with this key: two runs share it only if all settings are equal."""
    digest = sha256_of_text(json.dumps(key, sort_keys=True))[:12]
    return Path(parent) / (re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-") + f"-{digest}")


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def is_begun(self) -> bool:
        """Whether a run has computed anything here. One that has not stands in nobody's way."""
        return (self.path / "key.json").is_file() and any(map(has_records, self._record_files()))

    def only_here(self) -> ContextManager[None]:
        """For whoever runs, and reports: DataError, saying who it is, while another process does."""
        return only_here(self.path)

    def is_reported(self) -> bool:
        """Whether the reports were written."""
        return all((self.path / name).is_file() for name in _REPORTS)

    def finished(
        self, key: Mapping[str, Any], is_current: Callable[[str, Record], bool]
    ) -> dict[str, Record]:
        """The records that still hold, by item; none where no run has begun.

        DataError, naming the setting, for a run with another key, and for one of an earlier version.
        """
        if any((self.path / name).exists() for name in _EARLIER):
            raise DataError(
                f"{self.path}: an earlier version of caffe_gp began this run, and its records cannot be "
                "resumed; give another output folder, or remove this one to start again"
            )
        if not self.is_begun():
            return {}
        check_key(self.path, self.key(), dict(key))
        return {item: record for item, record in self.records().items() if is_current(item, record)}

    def begin(self, key: Mapping[str, Any], ids: Sequence[str]) -> None:
        """Write what identifies the run; reports of its records so far go, and what a first try left."""
        begun = self.is_begun()
        stale = [self.path / name for name in _REPORTS] + ([] if begun else self._record_files())
        for path in stale:
            if path.is_file():
                path.unlink()
        (self.path / "records").mkdir(parents=True, exist_ok=True)
        if not begun or self.ids() != list(ids):
            write_text(self.path / "ids.txt", "".join(f"{item}\n" for item in ids))
        if not begun:
            write_json(self.path / "key.json", key)

    def key(self) -> dict[str, Any]:
        """The settings that the run began with."""
        key = read_json(self.path / "key.json", _OF_A_RUN)
        if not isinstance(key, dict):
            raise DataError(f"{self.path / 'key.json'}: expected an object; {_OF_A_RUN}")
        return key

    def ids(self) -> list[str]:
        """The items in their order."""
        path = self.path / "ids.txt"
        try:
            return read_regular(path, MAX_LIST_BYTES).decode("utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not readable ({error}); {_OF_A_RUN}") from None

    @contextmanager
    def new_records(self, head: Mapping[str, Any]) -> Iterator[RecordWriter]:
        """A new file of records that nobody else writes to."""
        number = max([-1, *(int(path.stem) for path in self._record_files())]) + 1
        while True:
            try:
                writer = RecordWriter(self.path / "records" / f"{number}.jsonl", head)
                break
            except FileExistsError:  # another worker was faster
                number += 1
        try:
            yield writer
        finally:
            writer.close()

    def parts(self, check: Check = lambda head, record: None) -> list[Part]:
        """First line and records of every file, oldest first; DataError if one is of another run.

        check   as of ``read_records``
        """
        key, found = self.key(), []
        for path in self._record_files():
            head, records = read_records(path, check)
            if head is not None:
                check_key(path, head["key"], key)
                found.append((head, records))
        return found

    def records(self) -> dict[str, Record]:
        """The records by item; the latest where there are several."""
        return merged(self.parts())

    def write_reports(self, results: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Write ``results.json`` and ``provenance.json``."""
        for name, content in zip(_REPORTS, (results, provenance)):
            write_json(self.path / name, content)

    def reports(self) -> dict[str, Any]:
        """What both reports say, in one."""
        results, provenance = (read_json(self.path / name, _OF_A_RUN) for name in _REPORTS)
        for name, content in zip(_REPORTS, (results, provenance)):
            if not isinstance(content, dict):
                raise DataError(f"{self.path / name}: expected an object; {_OF_A_RUN}")
        return {**results, **provenance}

    def _record_files(self) -> list[Path]:
        found = [path for path in (self.path / "records").glob("*.jsonl") if path.stem.isdigit()]
        return sorted(found, key=lambda path: int(path.stem))


def merged(parts: Sequence[Part]) -> dict[str, Record]:
    """The records of some files by item; the latest where there are several."""
    return {record["item"]: record for _, records in parts for record in records}
