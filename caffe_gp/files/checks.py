"""Whether something else lies in a file's place, such as a web page, and whether the disk has room."""

from __future__ import annotations

import shutil
from pathlib import Path

from caffe_gp.errors import CaffeGPError


def what_is_wrong(head: bytes) -> str:
    """What starts with ``head``, if hosts often serve it in place of a binary file; '' otherwise."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return "an empty file"
    if start.startswith(b"version https://git-lfs"):
        return "a git-LFS pointer, not the file itself"
    if start.startswith(b"<"):
        return "a web page, not the file itself"
    return ""


def need_space(folder: Path, count: int, name: str) -> None:
    """Raise CaffeGPError unless ``count`` more bytes fit on the disk of ``folder``."""
    free = shutil.disk_usage(folder).free
    if count > free:
        raise CaffeGPError(
            f"{name}: needs {count / 1e6:.0f} MB in {folder}, where {free / 1e6:.0f} MB are free. Make room, "
            "or name another folder (the tool's --help says how)"
        )
