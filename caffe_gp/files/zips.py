"""Zip archives that others made, for reading: opened once, with a bounded table of contents."""

from __future__ import annotations

import io
import os
import zipfile
from typing import IO, Any, cast

from caffe_gp.errors import DataError, quoted
from caffe_gp.files.regular import open_regular

MAX_MEMBERS = 200_000  # VOC2012 has some 40,000
MAX_TABLE_BYTES = 32 << 20  # 200,000 members with long names
SHOWN = 60  # characters of a name in a message
_BEGINNING = b"PK\x03\x04"


def is_zip(path: str | os.PathLike) -> bool:
    """Whether a file begins as a zip archive. OSError for anything but a file."""
    with open_regular(path) as stream:
        return stream.read(len(_BEGINNING)) == _BEGINNING


class Zip(zipfile.ZipFile):
    """A zip archive for reading, opened once: a path, or a stream of bytes.

    DataError for too many members, and from ``open`` for those that are encrypted or packed in a way that
    published archives are not; a damaged archive raises whatever zipfile raises.
    """

    def __init__(self, file: str | os.PathLike | io.BytesIO) -> None:
        self._own: _ShortReads | None = None
        if not isinstance(file, io.BytesIO):
            self._own = _ShortReads(cast(io.BufferedReader, open_regular(file)).detach())
        try:
            super().__init__(self._own or file)
            if len(self.infolist()) > MAX_MEMBERS:
                raise DataError(f"{len(self.infolist())} files in it; at most {MAX_MEMBERS} are unpacked")
        except BaseException:
            if self._own is not None:
                self._own.close()
            raise

    def open(self, name: Any, *args: Any, **options: Any) -> IO[bytes]:
        entry = name if isinstance(name, zipfile.ZipInfo) else self.getinfo(name)
        if entry.flag_bits & 1:
            raise DataError(f"{quoted(entry.filename, SHOWN)} in it is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(
                f"{quoted(entry.filename, SHOWN)} in it is packed by method {entry.compress_type}; only "
                "stored and deflated files are read"
            )
        return super().open(entry, *args, **options)

    def close(self) -> None:
        super().close()
        if self._own is not None:
            self._own.close()


class _ShortReads(io.BufferedReader):
    """Refuses to read more at once than the table of a zip archive may have."""

    def read(self, size: int | None = -1) -> bytes:
        most = MAX_TABLE_BYTES + 1
        content = super().read(most if size is None or size < 0 else min(size, most))
        if len(content) == most:
            raise DataError(f"its table of contents has more than {MAX_TABLE_BYTES} bytes")
        return content
