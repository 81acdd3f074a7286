"""Files that appear under their names only when they are whole, with the rights that open() gives."""

from __future__ import annotations

import errno
import os
import tempfile
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
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """A temporary path beside ``path`` to write to, renamed to ``path`` at the end.

    The folder has to exist. An error or Ctrl-C leaves the old file (or none) and no temporary one. Two
    processes never share a temporary path. For libraries that want a path; others take ``write_atomically``.
    OSError for a device, a pipe or a folder of that name: renaming would put a file in its place.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is no regular file, so it is not replaced", str(target))
    # The file's own suffix stays last: some libraries choose a format by it.
    prefix, suffix = f".{target.stem}.", f".tmp{target.suffix}"
    try:
        handle, temporary = tempfile.mkstemp(dir=str(target.parent), prefix=prefix, suffix=suffix)
    except OSError as error:
        error.filename = str(target)
        raise
    os.close(handle)
    try:
        with naming(target, temporary):
            yield temporary
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)  # mkstemp's 0600 would surprise whoever shares the folder
            os.replace(temporary, str(target))
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write(binary stream)``; what it writes appears as ``path`` when it is whole."""
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        write(stream)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a file, and make its folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda stream: stream.write(content))


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a UTF-8 text file with its line ends as they are, and make its folder."""
    write_bytes(path, text.encode("utf-8"))
