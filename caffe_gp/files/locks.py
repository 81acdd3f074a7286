"""A folder for one process at a time, with a lock that the system releases when its process ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, TextIO

from caffe_gp import provenance
from caffe_gp.errors import DataError, printable
from caffe_gp.files.atomic import naming

LOCK = ".lock"
_SHOWN = 100  # characters of what a lock says of its owner


@contextmanager
def only_here(folder: Path) -> Iterator[None]:
    """Nobody else is inside for the same folder, which is made. DataError, saying who it is, if somebody is.

    A file that a killed process left is no lock any more. Processes that this one starts do not hold it.
    Where a lock cannot be had (a read-only folder, a file system without locks), there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    stream = _locked(path)
    if stream is None:
        yield
        return
    with stream:
        with naming(path):
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}, since {provenance.now()}\n")
            stream.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> TextIO | None:
    """The file, open and locked; None where there are no locks. DataError if it is another's."""
    while True:
        try:
            stream = open_lock(path)
        except OSError:  # whoever writes there next names the file
            return None
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.lstat()):
                return stream
            stream.close()  # its owner removed it, at its end, after it was opened here
        except BlockingIOError:
            with stream:
                stream.seek(0)
                who = printable(stream.read(_SHOWN).strip()) or "another process"
            raise DataError(
                f"{path.parent}: {who}, is at work in this folder; wait for its end, or give another one"
            ) from None
        except OSError:  # no locks on this file system
            stream.close()
            return None


def open_lock(path: Path) -> TextIO:
    """A file to lock, made if it is not there. DataError for a link or anything else than a file; OSError.

    A folder that came from elsewhere may hold a link of this name, and what it leads to would be overwritten.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _no_lock(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_lock(path)
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")


def _no_lock(path: Path) -> DataError:
    return DataError(f"{path}: expected a lock's file, not a link or a pipe; remove it")
