"""Files out of archives that others made: zip, tar, and tar in gzip. Bounded by what is really unpacked.

    unpack(Path("VOC.tar"), lambda name: folder / name if wanted(name) else None)

What an archive's headers say of sizes is not believed. Links, devices and folders in it are passed over.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Callable, Iterator

from caffe_gp.errors import CaffeGPError, DataError, quoted, why
from caffe_gp.files.checks import storing
from caffe_gp.files.regular import open_regular
from caffe_gp.files.zips import MAX_MEMBERS, SHOWN, Zip, is_zip

MAX_UNPACKED_BYTES = 8 << 30  # the largest data set, VOC2012, has 2 GB
MAX_RATIO = 100  # unpacked to packed: images and caffemodels have some 1 to 2, lists of names some 10
SMALL = 64 << 20  # bytes for which the ratio does not matter
MAX_HEADER_BYTES = 16 << 10  # of a tar's long name: a path has at most 4,096
_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"


def unpack(packed: Path, target_of: Callable[[str], Path | None]) -> None:
    """Write the files of an archive, each to the path that ``target_of`` gives for its name; None: nowhere.

    Raises DataError for an archive that is damaged or beyond the limits, NotStoredError for a full disk.
    """
    with reading(packed, DataError):
        for name, content, size in _members(packed):
            if not is_inside(name):
                raise DataError(
                    f"a file {quoted(name, SHOWN)} in it leads out of its folder: nothing is unpacked"
                )
            target = target_of(name)
            if target is not None:
                if not name.isprintable():
                    raise DataError(f"the name of {quoted(name, SHOWN)} in it has control characters")
                with storing(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                copy(content, target, size)


@contextmanager
def reading(packed: Path, kind: type[CaffeGPError]) -> Iterator[None]:
    """Errors of an archive's readers, and DataErrors on what it holds, become one ``kind`` that names it."""
    try:
        yield
    except DataError as error:
        raise kind(f"{packed}: {error}") from None
    except CaffeGPError:
        raise
    except Exception as error:  # whatever a damaged archive makes of its reader
        raise kind(f"{packed}: a damaged archive ({why(error)})") from None


def copy(content: IO[bytes], target: Path, size: int) -> None:
    """Write what can be read from ``content``, which has to be ``size`` bytes.

    Raises DataError for more or less, NotStoredError for a full disk.
    """
    left = size
    with storing(target):
        stream = open(target, "wb")
    try:
        for chunk in iter(lambda: content.read(_CHUNK), b""):
            left -= len(chunk)
            if left < 0:
                break
            with storing(target):
                stream.write(chunk)
    finally:
        with storing(target):
            stream.close()
    if left:
        raise DataError(
            f"{quoted(target.name, SHOWN)} has {'more' if left < 0 else size - left} bytes, not {size}"
        )


def is_inside(name: str) -> bool:
    """Whether a path in an archive or a manifest leads to somewhere in the folder that it is taken from."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


# ---- members


class _Budget:
    """What may still come out of an archive."""

    def __init__(self, packed: int) -> None:
        self._most = min(MAX_UNPACKED_BYTES, max(SMALL, MAX_RATIO * packed))
        self._left, self._members = self._most, 0

    def member(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise DataError(f"more than {MAX_MEMBERS} files in it")

    def reading(self, content: Any) -> _Counted:
        return _Counted(content, self)

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise DataError(f"more than {self._most} bytes come out of it, which no data set has")


class _Counted:
    """A stream whose bytes are counted when they are read."""

    def __init__(self, content: Any, budget: _Budget) -> None:
        self._content, self._budget = content, budget

    def read(self, size: int) -> bytes:
        content: bytes = self._content.read(size)
        self._budget.take(len(content))
        return content


def _members(packed: Path) -> Iterator[tuple[str, Any, int]]:
    """(name, content, its size as the archive says) of the regular files in an archive, in order."""
    if is_zip(packed):
        budget = _Budget(os.path.getsize(packed))
        with Zip(packed) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as content:
                        yield entry.filename, budget.reading(content), entry.file_size
        return
    with open_regular(packed) as stream:
        budget = _Budget(os.fstat(stream.fileno()).st_size)
        is_gzip = stream.read(len(_GZIP)) == _GZIP
        stream.seek(0)
        yield from _tar_members(budget.reading(gzip.GzipFile(fileobj=stream) if is_gzip else stream), budget)


def _tar_members(content: _Counted, budget: _Budget) -> Iterator[tuple[str, Any, int]]:
    # As a stream, so that every byte is read once, and counted, those of files that are passed over too.
    with tarfile.open(fileobj=content, mode="r|", tarinfo=_Header) as archive:  # type: ignore[call-overload]
        for member in archive:
            budget.member()
            extracted = archive.extractfile(member) if member.isfile() else None
            if extracted is not None:
                yield member.name, extracted, member.size
            archive.members = []  # or it keeps them all
            archive.pax_headers = {}


class _Header(tarfile.TarInfo):
    """Refuses headers that cost memory before anything is known of the file behind them."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> Any:
        header = super().frombuf(buf, encoding, errors)
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise DataError("a sparse file in it, which no published archive has")
        if header.size < 0 or header.type in _LONG and header.size > MAX_HEADER_BYTES:
            raise DataError(f"a header in it has {header.size} bytes")
        return header

    def _refuse_sparse(self, *_: Any) -> None:  # tarfile would read a list of holes of any length
        raise DataError("a sparse file in it, which no published archive has")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


_LONG = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
