"""The folder for unfinished downloads, for one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from pathlib import Path, PurePosixPath
from typing import Callable, Iterator
from urllib.parse import urlsplit

INCOMING = ".incoming"
Say = Callable[[str], None]


@contextlib.contextmanager
def workplace(folder: Path, say: Say) -> Iterator[Path]:
    """The folder for unfinished files, for one process at a time. The lock dies with its process."""
    incoming = folder / INCOMING
    incoming.mkdir(parents=True, exist_ok=True)
    with open(incoming / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that is fetching into {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for stale in [*incoming.glob("tmp*"), *incoming.glob(".*.tmp"), *incoming.glob("taken-*")]:
            stale.unlink()
        yield incoming


def staged_name(url: str) -> str:
    """A name for the download of ``url``: two addresses never continue each other's files."""
    return f"{hashlib.sha1(url.encode()).hexdigest()[:10]}-{url_name(url)}"


def url_name(url: str) -> str:
    """The file name that an address ends with."""
    return PurePosixPath(urlsplit(url).path).name or "download"
