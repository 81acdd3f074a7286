"""Values of a file of weights that are read again, long after it was loaded, if it is still the same."""

from __future__ import annotations

import os
import weakref
from typing import BinaryIO, Sequence

import numpy as np

from ..errors import WeightsError
from ..files.regular import open_regular

_AT_ONCE = 8 << 20  # bytes


class OriginalFile:
    """A file of weights as it was when it was read: opened again, and kept open, for who asks for that."""

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self._path, self._as_it_was = os.path.abspath(path), _identity(stream)
        self._stream: BinaryIO | None = None

    def hold(self) -> bool:
        """Keep the file open from now on; False where it is gone, or has changed."""
        try:
            if self._stream is not None:
                return _identity(self._stream) == self._as_it_was
            stream = open_regular(self._path)
            if _identity(stream) != self._as_it_was:
                stream.close()
                return False
        except OSError:
            return False
        self._stream = stream
        weakref.finalize(self, stream.close)
        return True

    def read(self, start: int, values: np.ndarray) -> None:
        """Read an array, all of it, from the byte ``start`` on. OSError; ValueError for what has changed."""
        assert self._stream is not None
        into = memoryview(values.view(np.uint8).data)
        done = 0
        while done < len(into):
            count = os.preadv(self._stream.fileno(), [into[done : done + _AT_ONCE]], start + done)
            if not count:
                break
            done += count
        if done < len(into) or not self.hold():
            raise ValueError("it has changed since it was loaded")


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

    def hold(self) -> bool:
        """Whether they still are what they were; if so the file stays open, so that it may be removed."""
        return self._original.hold()

    def read(self, destination: np.ndarray) -> None:
        """Read all into (count,) float32, after ``hold``. WeightsError where the file has changed since."""
        done = 0
        try:
            for start, count in self._spans:
                self._original.read(start, destination[done : done + count])
                done += count
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{self._where}: its values are needed once more, and the file cannot be read: {error}. Load "
                "the net anew; put other files in the place of those in use by renaming them"
            ) from None
