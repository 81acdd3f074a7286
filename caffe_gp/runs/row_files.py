"""Rows of a large array in a folder of HDF5 files, added piece by piece: each file is whole or not there."""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_bytes
from caffe_gp.files.hdf5 import UNREADABLE, Hdf5File


class RowFiles:
    """Some rows of a (count, ...) array.

    Each file holds 'rows', (n,) int64, and 'values', (n, ...). Files are only ever added, under names of
    their own, so a stopped run goes on with what is there and two runs do not disturb each other.
    """

    def __init__(self, folder: Path, count: int, dtype: Any) -> None:
        """Read which rows are there. DataError, naming the file, if one is damaged.

        dtype   of the values
        """
        self.folder, self.count, self.dtype = folder, count, np.dtype(dtype)
        self._forget()
        self.refresh()

    def refresh(self) -> None:
        """See what others have added or removed. DataError, naming the file, if one is damaged."""
        there = sorted(self.folder.glob("*.h5"))
        if not self._paths.keys() <= set(there):
            self._forget()
        for path in there:
            if path not in self._paths:
                self._note(path, self._read(path, "rows"))

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Those of ``rows`` that are not there yet, in ascending order, each once."""
        wanted = np.unique(rows)
        return wanted[self._file_of[wanted] < 0]

    def add(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Store values (n, ...) of rows (n,)."""
        import h5py

        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file["rows"], file["values"] = rows.astype(np.int64), values.astype(self.dtype, copy=False)
        path = self.folder / f"{rows[0]:08d}-{uuid.uuid4().hex[:12]}.h5"
        write_bytes(path, buffer.getvalue())
        self._note(path, rows)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The values (n, ...) of rows (n,), all of which must be there. DataError for a damaged file."""
        assert len(rows) and not self.missing(rows).size
        paths, files = list(self._paths), self._file_of[rows]
        found: np.ndarray | None = None
        for number in np.unique(files).tolist():
            path, inside = paths[number], files == number
            values = self._values(path, self._paths[path], None if found is None else found.shape[1:])
            if found is None:
                found = np.empty((len(rows), *values.shape[1:]), self.dtype)
            found[inside] = values[self._place[rows[inside]]]
        assert found is not None
        return found

    def _forget(self) -> None:
        self._paths: dict[Path, int] = {}  # and how many rows each holds
        self._file_of = np.full(self.count, -1)  # the number of each row's file, and its place there
        self._place = np.full(self.count, -1)

    def _note(self, path: Path, rows: np.ndarray) -> None:
        self._file_of[rows], self._place[rows] = len(self._paths), np.arange(len(rows))
        self._paths[path] = len(rows)

    def _values(self, path: Path, count: int, shape: tuple[int, ...] | None) -> np.ndarray:
        """The values of a file of ``count`` rows; ``shape``: of a row in the files before it."""
        values = self._read(path, "values")
        if (
            values.shape[:1] != (count,)
            or values.dtype != self.dtype
            or shape not in (None, values.shape[1:])
        ):
            raise self._damaged(
                path,
                f"values: expected {count} {self.dtype} like those of the other files, found {values.shape} "
                f"{values.dtype}",
            )
        return values

    def _read(self, path: Path, name: str) -> np.ndarray:
        try:
            with Hdf5File(path) as file:
                found = file.values(file.child(file.root, name))
        except UNREADABLE as error:
            raise self._damaged(path, str(error)) from None
        if name == "rows" and not self._are_rows(found):
            raise self._damaged(path, f"rows: expected numbers in 0..{self.count - 1}, each once")
        return found

    def _are_rows(self, rows: np.ndarray) -> bool:
        return (
            rows.ndim == 1
            and rows.dtype == np.int64
            and len(np.unique(rows)) == len(rows) > 0
            and 0 <= rows.min() <= rows.max() < self.count
        )

    def _damaged(self, path: Path, why: str) -> DataError:
        return DataError(f"{path}: not readable ({why}); remove this file, and its rows are computed again")
