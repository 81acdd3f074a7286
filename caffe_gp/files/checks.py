"""What may be wrong with a download: something else in the file's place, no room, a slow address."""

from __future__ import annotations

import contextlib
import errno
import shutil
from pathlib import Path
from typing import Iterator

from caffe_gp.errors import DownloadError
from caffe_gp.files.kinds import EMPTY, LFS, WEB_PAGE, what_begins

# Where nobody published a file's size. The largest that is known, VOC2012, has 2 GB.
MAX_UNKNOWN_BYTES = 4 << 30


class SlowAddressError(DownloadError):
    """An address that is too slow to wait for while there are others."""


class NotStoredError(DownloadError):
    """The disk is full, or refuses to be written: another address does not help."""


def what_is_wrong(head: bytes) -> str:
    """What starts with ``head``, if hosts often serve it in place of a binary file; '' otherwise."""
    kind = what_begins(head)
    if kind == EMPTY:
        return kind
    return f"{kind}, not the file itself" if kind in (LFS, WEB_PAGE) else ""


def need_space(folder: Path, count: int, name: str) -> None:
    """Raise NotStoredError unless ``count`` more bytes fit on the disk of ``folder``."""
    free = shutil.disk_usage(folder).free
    if count > free:
        raise NotStoredError(
            f"{name}: needs {count / 1e6:.0f} MB in {folder}, where {free / 1e6:.0f} MB are free. Make room, "
            "or name another folder (the tool's --help says how)"
        )


def not_stored(error: OSError, path: Path, needed: int | None = None) -> NotStoredError:
    """What an error of the system means for the file that was being written, of which ``needed`` lack."""
    message = f"{path}: cannot be written: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(path.parent).free
        lacks = f"{needed / 1e6:.0f} MB are still needed, " if needed is not None else ""
        message += f"; {lacks}{free / 1e6:.0f} MB are free in {path.parent}. Make room, then try again"
    return NotStoredError(message)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """A disk that is full or broken is a NotStoredError; another error of the system stays what it is."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM):
            raise not_stored(error, path) from None
        raise
