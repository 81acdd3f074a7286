"""What may be wrong with a download: something else in the file's place, no room, a slow address."""

from __future__ import annotations

import shutil
from pathlib import Path

from caffe_gp.errors import CaffeGPError, DownloadError
from caffe_gp.files.kinds import EMPTY, LFS, WEB_PAGE, what_begins


class SlowAddressError(DownloadError):
    """An address that is too slow to wait for while there are others."""


def what_is_wrong(head: bytes) -> str:
    """What starts with ``head``, if hosts often serve it in place of a binary file; '' otherwise."""
    kind = what_begins(head)
    if kind == EMPTY:
        return kind
    return f"{kind}, not the file itself" if kind in (LFS, WEB_PAGE) else ""


def need_space(folder: Path, count: int, name: str) -> None:
    """Raise CaffeGPError unless ``count`` more bytes fit on the disk of ``folder``."""
    free = shutil.disk_usage(folder).free
    if count > free:
        raise CaffeGPError(
            f"{name}: needs {count / 1e6:.0f} MB in {folder}, where {free / 1e6:.0f} MB are free. Make room, "
            "or name another folder (the tool's --help says how)"
        )
