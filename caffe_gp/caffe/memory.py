"""How much memory a net may take: asked before it is taken: a prototxt of 100 bytes may want terabytes."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from caffe_gp.errors import OutOfMemoryError, UsageError

VARIABLE = "CAFFE_GP_MAX_BYTES"
#: Of the machine's memory, where the variable is not set; the rest is the system's and the libraries'.
SHARE = 0.8
BYTES = 4  # of a value

_CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class _Building(threading.local):
    """What is asked of nets that this thread builds."""

    def __init__(self) -> None:
        self.shapes_only = 0  # how many times over
        self.left: list[int] = []  # bytes, of the nets that are being built, one in another


_building = _Building()


def max_bytes() -> int:
    """What a net may take: CAFFE_GP_MAX_BYTES, else a share of what machine, container and ulimit allow.

    Raises UsageError for a value of the variable that is no number of bytes.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if text:
        if not text.isdecimal() or not int(text):
            raise UsageError(f"environment variable {VARIABLE}={text!r}: expected a number of bytes, from 1")
        return int(text)
    return _share_of_machine()


@cache
def _share_of_machine() -> int:
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP:
        try:
            limit = Path(path).read_text().strip()
        except OSError:
            continue
        found += [int(limit)] if limit.isdecimal() else []
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    found += [limit for limit in limits if limit != resource.RLIM_INFINITY]
    return int(SHARE * min(found))


@contextmanager
def left(count: int) -> Iterator[None]:
    """Within it ``need`` allows so many bytes and no more."""
    _building.left.append(count)
    try:
        yield
    finally:
        _building.left.pop()


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within it nets may be of any size, and their parameters are not filled."""
    _building.shapes_only += 1
    try:
        yield
    finally:
        _building.shapes_only -= 1


def is_shapes_only() -> bool:
    """Whether only the shapes of a net are wanted."""
    return _building.shapes_only > 0


def need(count: int, what: str) -> None:
    """OutOfMemoryError where so many bytes are not left. ``what`` begins the message."""
    if is_shapes_only():
        return
    allowed = _building.left[-1] if _building.left else max_bytes()
    if count > allowed:
        raise OutOfMemoryError(
            f"{what} needs {count:,} bytes; of {max_bytes():,} that a net may take {max(allowed, 0):,} are "
            f"left. Use smaller images, a smaller batch or a smaller net, or raise --max-memory ({VARIABLE})"
        )


def zeros(count: int) -> torch.Tensor:
    """So many float32 zeros on the host. OutOfMemoryError where they may not be taken, or are not there."""
    need(BYTES * count, f"a blob of {count:,} values")
    try:
        return torch.zeros(count)
    except (RuntimeError, MemoryError) as error:
        raise OutOfMemoryError(
            f"a blob of {count:,} values: the machine has no memory left for it"
        ) from error
