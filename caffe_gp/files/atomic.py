"""Files that appear under their names only when they are whole and on the disk.

    with replacing("out.png") as stream:
        stream.write(...)

What is unfinished lies beside the target as ``.NAME.0.tmp``, locked by who writes it. A process that is
killed leaves it there, without its lock: the next one that writes the same target removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Callable, Iterator


@contextmanager
def naming(path: str | os.PathLike, temporary: str | None = None) -> Iterator[None]:
    """A system's error that names no file, or only a ``temporary`` one, then names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, temporary):
            error.filename = os.fspath(path)
        raise


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A stream to write and read; what is in it takes the name ``path`` at the end, with open()'s rights.

    The folder has to exist. An error or Ctrl-C leaves the old file (or none) and no temporary one. Several
    processes may write the same target at once: each has a file of its own, and the last one stays.
    OSError for a device, a pipe or a folder of that name: renaming would put a file in its place.
    """
    target = os.fspath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "it is no regular file, so it is not replaced", target)
    stream, temporary = _new_temporary(target)
    try:
        with naming(target, temporary), stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())  # or a power cut could leave the name with an empty file
            os.replace(temporary, target)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_UN)  # a child that was forked meanwhile holds it too
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(target))


def into_place(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Rename a finished file, which is on the disk before it has the new name. OSError names the target."""
    with naming(target):
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(source, target)
    sync_folder(os.path.dirname(os.fspath(target)))


def sync_folder(folder: str | os.PathLike) -> None:
    """The names in a folder are on the disk, where its file system can say so."""
    with contextlib.suppress(OSError):
        descriptor = os.open(os.fspath(folder) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write(binary stream)``; what it writes appears as ``path`` when it is whole."""
    with replacing(path) as stream:
        write(stream)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a file, and make its folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda stream: stream.write(content))


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a UTF-8 text file with its line ends as they are, and make its folder."""
    write_bytes(path, text.encode("utf-8"))


# ---- temporary files


def _new_temporary(target: str) -> tuple[BinaryIO, str]:
    """A new file beside the target, open and locked, and its path. What killed processes left is removed."""
    folder, name = os.path.split(target)
    numbered = (os.path.join(folder, f".{name}.{number}.tmp") for number in itertools.count())
    for temporary in numbered:
        _remove_if_left(temporary)
        with naming(target, temporary):
            stream = _created(temporary)
        if stream is not None:
            for later in itertools.takewhile(os.path.lexists, numbered):
                _remove_if_left(later)
            return stream, temporary
    raise AssertionError("numbers do not end")


def _created(temporary: str) -> BinaryIO | None:
    """The file, made and locked; None where another process has one of this name."""
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return None
    stream = os.fdopen(descriptor, "w+b")
    if _locked(descriptor) is not False and _is_at(descriptor, temporary):
        return stream
    stream.close()  # another process took it for one that was left: it was not locked yet
    return None


def _remove_if_left(temporary: str) -> None:
    """Remove a temporary file that nobody writes any more."""
    try:
        # Not through a link, and without waiting for the other end of a pipe.
        descriptor = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # there is none, or it is another user's, a link, a folder
        return
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if is_file and _locked(descriptor) and _is_at(descriptor, temporary):
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool | None:
    """Whether the lock of an open file could be had; None on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return None


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
