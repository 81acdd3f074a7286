"""The folder for unfinished downloads, for one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Callable, Iterator
from urllib.parse import urlsplit

from caffe_gp.files.locks import open_lock

INCOMING = ".incoming"
Say = Callable[[str], None]
_LOCK = "lock"
_DOWNLOAD = re.compile("[0-9a-f]{10}-")  # as staged_name makes them


@contextlib.contextmanager
def workplace(folder: Path, say: Say) -> Iterator[Path]:
    """The folder for unfinished files, for one process at a time. The lock dies with its process.

    What a killed process left there is removed, but for downloads, which are continued.
    """
    incoming = folder / INCOMING
    incoming.mkdir(parents=True, exist_ok=True)
    with open_lock(incoming / _LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that is fetching into {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in incoming.iterdir():
            if stale.is_dir() and not stale.is_symlink():
                shutil.rmtree(stale)
            elif stale.name != _LOCK and not _DOWNLOAD.match(stale.name):
                stale.unlink()
        yield incoming


def staged_name(url: str) -> str:
    """A name for the download of ``url``: two addresses never continue each other's files."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", url_name(url))[-80:]
    return f"{hashlib.sha1(url.encode()).hexdigest()[:10]}-{name}"


def url_name(url: str) -> str:
    """The file name that an address ends with."""
    return PurePosixPath(urlsplit(url).path).name or "download"
