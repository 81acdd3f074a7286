"""Opening files that others made: regular files only, opened once, no bigger than their reader's cap."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import BinaryIO, TextIO

# No reader's file of text is near this: ImageNet's list of 1.3 million images has 60 MB.
MAX_LIST_BYTES = 256 << 20
# A mean image or an infogain matrix of 4,000 x 4,000 float32 has 64 MB.
MAX_BLOB_BYTES = 256 << 20

_KINDS = (
    (stat.S_ISDIR, errno.EISDIR, "a folder"),
    (stat.S_ISFIFO, errno.EINVAL, "a pipe"),
    (stat.S_ISCHR, errno.EINVAL, "a device"),
    (stat.S_ISBLK, errno.EINVAL, "a device"),
    (stat.S_ISSOCK, errno.EINVAL, "a socket"),
)


def open_regular(path: str | os.PathLike[str], most_bytes: int | None = None) -> BinaryIO:
    """A regular file opened for reading bytes. OSError, which says why, for anything else.

    most_bytes  a bigger file is refused; None where the reader maps it, or reads it piece by piece
    Pipes and devices, which may give no end of bytes or block for ever, are not opened.
    """
    path = os.fspath(path)
    if "\0" in path:
        raise OSError(errno.EINVAL, "its name holds a zero byte", path)
    _refuse_others(os.stat(path), path)
    # Between the two looks the name may have become a pipe: without O_NONBLOCK opening that would block.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        _refuse_others(status, path)
        if most_bytes is not None and status.st_size > most_bytes:
            raise OSError(
                errno.EFBIG, f"{status.st_size} bytes; at most {most_bytes} are read of such a file", path
            )
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """The content of a regular file of at most ``most_bytes``. OSError, which says why, for anything else."""
    with open_regular(path, most_bytes) as stream:
        content = stream.read(most_bytes + 1)  # a file of /proc says that it is empty, and is not
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"more than {most_bytes} bytes", os.fspath(path))
    return content


def text_lines(path: str | os.PathLike[str]) -> TextIO:
    """A list file opened for reading lines; bytes that are no UTF-8 stay what they are. OSError as above."""
    return io.TextIOWrapper(open_regular(path, MAX_LIST_BYTES), "utf-8-sig", errors="surrogateescape")


def _refuse_others(status: os.stat_result, path: str) -> None:
    for is_kind, number, kind in _KINDS:
        if is_kind(status.st_mode):
            raise OSError(number, f"it is {kind}, not a file", path)
