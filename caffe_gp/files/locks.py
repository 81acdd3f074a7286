"""A folder for one process at a time, with a lock that the system releases when its process ends."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from caffe_gp import provenance
from caffe_gp.errors import DataError

LOCK = ".lock"


@contextmanager
def only_here(folder: Path) -> Iterator[None]:
    """Nobody else is inside for the same folder, which is made. DataError, saying who it is, if somebody is.

    The lock's file stays, and says who was last: it is a lock only as long as that process lives. Processes
    that this one starts do not hold it. Where a lock cannot be had (a read-only folder, a file system without
    locks), there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        stream = open(folder / LOCK, "a+", encoding="utf-8")
    except OSError:  # whoever writes there next names the file
        yield
        return
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            who = stream.read().strip() or "another process"
            raise DataError(
                f"{folder}: {who}, is at work in this folder; wait for its end, or give another one"
            ) from None
        except OSError:  # no locks on this file system
            yield
            return
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}, since {provenance.now()}\n")
        stream.flush()
        yield
