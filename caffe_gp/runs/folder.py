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

from caffe_gp.errors import DataError, quoted
from caffe_gp.files.atomic import write_bytes, write_text
from caffe_gp.files.hashes import sha256_of, sha256_of_text
from caffe_gp.files.json_files import dumps, read_object, write_json
from caffe_gp.files.locks import only_here
from caffe_gp.files.regular import read_regular
from caffe_gp.runs.records import ANYTHING, RecordWriter, Schema, check_key, has_records, read_records
from caffe_gp.runs.task import Record

Part = Tuple[Dict[str, Any], List[Record]]  # first line and records of one file

_ANEW = "the command that began the run writes it anew"
_FILES = ("key.json", "ids.txt")
RESULTS, PROVENANCE = _REPORTS = ("results.json", "provenance.json")
_HASH = "results_sha256"
MAX_IDS_BYTES = 64 << 20  # ImageNet's 1.3 million names have 30 MB
_OF_A_RUN = "it belongs to a run's folder"
_RECORD_FILE = re.compile(r"[0-9]{1,9}\.jsonl")
# What runs of earlier versions kept; they had several kinds of records.
_EARLIER = ("records.jsonl", "unfinished")


def keyed_folder(parent: Path | str, name: str, key: Mapping[str, Any]) -> Path:
    """A folder of ``parent`` for the run with this key: two runs share it only if all settings are equal."""
    digest = sha256_of_text(json.dumps(key, sort_keys=True))[:12]
    return Path(parent) / (re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-") + f"-{digest}")


class RunFolder:
    """The files of one run; ``schema``: what its records are."""

    def __init__(self, path: Path | str, schema: Schema = ANYTHING) -> None:
        self.path, self._schema = Path(path), schema

    def is_begun(self) -> bool:
        """Whether a run has computed anything here. One that has not stands in nobody's way."""
        return (self.path / "key.json").is_file() and any(map(has_records, self._record_files()))

    def only_here(self) -> ContextManager[None]:
        """For whoever runs, and reports: DataError, saying who it is, while another process does."""
        return only_here(self.path)

    def is_reported(self) -> bool:
        """Whether the reports were written, and are those that were."""
        try:
            self.reports()
        except DataError:
            return False
        return True

    def finished(
        self, key: Mapping[str, Any], is_current: Callable[[str, Record], bool]
    ) -> dict[str, Record]:
        """The records that still hold, by item; none where no run has begun.

        DataError, naming the setting, for a run with another key, and for one of an earlier version.
        """
        self._check_kinds()
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
        self._check_kinds()
        (self.path / "records").mkdir(parents=True, exist_ok=True)
        if not begun or not self.lists(ids):
            write_bytes(self.path / "ids.txt", _lines(ids))
        if not begun:
            write_json(self.path / "key.json", key)

    def key(self) -> dict[str, Any]:
        """The settings that the run began with."""
        return read_object(self.path / "key.json", _OF_A_RUN)

    def lists(self, ids: Sequence[str]) -> bool:
        """Whether ``ids.txt`` is there, and of these items."""
        try:
            return read_regular(self.path / "ids.txt", MAX_IDS_BYTES) == _lines(ids)
        except OSError:
            return False

    def ids(self) -> list[str]:
        """The items in their order. DataError for none, and for one that is there twice."""
        path = self.path / "ids.txt"
        try:
            content = read_regular(path, MAX_IDS_BYTES)
            if content.startswith(b"\n") or b"\n\n" in content:  # millions of which would fill the memory
                raise ValueError("an empty line")
            ids = content.decode("utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not readable ({error}); {_ANEW}") from None
        seen = set()
        for number, item in enumerate(ids[:-1], 1):
            if item in seen:
                raise DataError(f"{path}, line {number}: {quoted(item)} is there twice; {_ANEW}")
            seen.add(item)
        if not seen or ids[-1]:
            raise DataError(f"{path}: cut off, or empty; {_ANEW}")
        return ids[:-1]

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

    def parts(self) -> list[Part]:
        """First line and records of every file, oldest first.

        DataError, naming the line, for what is no such record, and for a file of another run.
        """
        self._check_kinds()
        key = self.key()
        found: list[Part] = []
        for path in self._record_files():
            head, records = read_records(path, self._schema)
            if head is not None:
                check_key(path, head["key"], key)
                self._check_shared(path, head, found)
                found.append((head, records))
        return found

    def _check_shared(self, path: Path, head: Mapping[str, Any], before: Sequence[Part]) -> None:
        for name in self._schema.shared if before else ():
            if head[name] != before[0][0][name]:
                raise DataError(
                    f"{path}, line 1: its {name} are not those of the files before it, so they are not of "
                    "one run; remove the file to compute its items again"
                )

    def _check_kinds(self) -> None:
        """DataError for a folder, a pipe or a device in a file's place, or a file in a folder's."""
        for name in (*_FILES, *_REPORTS):
            if (self.path / name).exists() and not (self.path / name).is_file():
                raise DataError(f"{self.path / name}: expected a file; {_OF_A_RUN}. Remove it")
        records = self.path / "records"
        if records.is_symlink():
            raise DataError(f"{records}: a link, which leads out of the run's folder; remove it")
        if records.exists() and not records.is_dir():
            raise DataError(f"{records}: expected a folder; {_OF_A_RUN}. Remove it")

    def records(self) -> dict[str, Record]:
        """The records by item; the latest where there are several."""
        return merged(self.parts())

    def write_reports(self, results: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """Write ``results.json`` and ``provenance.json``, which holds the hash of the other."""
        content = dumps(results)
        write_text(self.path / RESULTS, content)
        write_json(self.path / PROVENANCE, {**provenance, _HASH: sha256_of_text(content)})

    def reports(self) -> dict[str, Any]:
        """What both reports say, in one. DataError, too, for a ``results.json`` that was edited."""
        results, provenance = (read_object(self.path / name, _OF_A_RUN) for name in _REPORTS)
        if provenance.pop(_HASH, None) != sha256_of(self.path / RESULTS):
            raise DataError(
                f"{self.path / RESULTS}: not the file that {PROVENANCE} was written with, as where it was "
                "edited: the command that began the run writes both anew"
            )
        return {**results, **provenance}

    def _record_files(self) -> list[Path]:
        found = (self.path / "records").glob("*.jsonl")
        return sorted(filter(_is_record_file, found), key=lambda path: int(path.stem))


def _is_record_file(path: Path) -> bool:
    return _RECORD_FILE.fullmatch(path.name) is not None


def _lines(ids: Sequence[str]) -> bytes:
    """The content of ``ids.txt``. DataError for names that no line holds."""
    for item in ids:
        if not item or "\n" in item or any("\ud800" <= one <= "\udfff" for one in item):
            raise DataError(
                f"image {quoted(item, 100)}: results are named after it, so its name must be one line of "
                "UTF-8: rename the file"
            )
    return "".join(f"{item}\n" for item in ids).encode("utf-8")


def merged(parts: Sequence[Part]) -> dict[str, Record]:
    """The records of some files by item; the latest where there are several."""
    return {record["item"]: record for _, records in parts for record in records}
