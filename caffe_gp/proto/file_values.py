"""Values of a file of weights that are read again, long after it was loaded, if it is still the same."""

from __future__ import annotations

import os
import weakref
from typing import BinaryIO, Callable, Sequence

import numpy as np

from ..errors import WeightsError
from ..files.regular import open_regular


class _Opened:
    """A file that is open as long as somebody has this."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        weakref.finalize(self, stream.close)


class OriginalFile:
    """A file of weights as it was when it was read; opened again, once for all who ask for that."""

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self._path, self._as_it_was = os.path.abspath(path), _identity(stream)
        self._opened: Callable[[], _Opened | None] = lambda: None

    def open(self) -> _Opened | None:
        """What keeps the file open; None where it is gone, or has changed."""
        opened = self._opened()
        try:
            if opened is None:
                opened = _Opened(open_regular(self._path))
                self._opened = weakref.ref(opened)
            return opened if self.is_in(opened) else None
        except OSError:
            return None

    def is_in(self, opened: _Opened) -> bool:
        """Whether what is open is the file as it was."""
        return _identity(opened.stream) == self._as_it_was


def _identity(stream: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(stream.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class FileValues:
    """A blob's values in a file.

    spans   the first byte of each of its pieces, and how many float32 it holds
    where   file, layer and blob, for messages
    """

    def __init__(self, original: OriginalFile, spans: Sequence[tuple[int, int]], where: str) -> None:
        self._original, self._spans, self._where = original, spans, where
        self._opened: _Opened | None = None

    def hold(self) -> bool:
        """Whether they still are what they were; if so the file stays open, so that it may be removed."""
        self._opened = self._original.open()
        return self._opened is not None

    def release(self) -> None:
        """Need the file open no longer."""
        self._opened = None

    def read(self, destination: np.ndarray) -> None:
        """Read all into (count,) float32, after ``hold``. WeightsError where the file has changed since."""
        assert self._opened is not None
        descriptor, into = self._opened.stream.fileno(), memoryview(destination.view(np.uint8).data)
        try:
            done = 0
            for start, count in self._spans:
                _read(descriptor, start, into[done : done + 4 * count])
                done += 4 * count
            if not self._original.is_in(self._opened):
                raise ValueError("it has changed since it was loaded")
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{self._where}: its values are needed once more, and the file cannot be read: {error}. Load "
                "the net anew; put other files in the place of those in use by renaming them"
            ) from None


def _read(descriptor: int, start: int, into: memoryview) -> None:
    """All bytes, from ``start`` on. ValueError for a file that ends before."""
    done = 0
    while done < len(into):
        count = os.preadv(descriptor, [into[done:]], start + done)
        if not count:
            raise ValueError("it has changed since it was loaded: it is shorter")
        done += count
