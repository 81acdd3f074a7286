"""Protobuf files of weights, memory-mapped: their blobs are views of the file.

``copy_to`` gives pages back as it goes, so that loading 545 MB takes 545 MB (the destination) and not twice
that. Maps are for the time of loading: where somebody cuts the file off, reading one kills the process. Who
wants values again later has them read (``FileValues``).
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import BinaryIO

import numpy as np

from ..errors import WeightsError
from ..files.kinds import HDF5_MAGIC, wrong_file
from ..files.protobuf import Damage, Reading, fields
from ..files.regular import open_regular
from . import wire
from .file_values import FileValues, OriginalFile
from .weights import WeightBlob

_COPY_CHUNK = 8 << 20
_WORTH_READING_AGAIN = 1 << 18  # values
_PAGE = mmap.ALLOCATIONGRANULARITY


class MappedFile(mmap.mmap):
    """A read-only map of a file, and which file that is."""

    original: OriginalFile

    @classmethod
    def of(cls, path: str, stream: BinaryIO) -> MappedFile:
        """The map of an open file; the stream may be closed."""
        found = cls(stream.fileno(), 0, access=mmap.ACCESS_READ)
        found.original = OriginalFile(path, stream)
        return found


def map_file(path: str) -> MappedFile:
    """A read-only memory map of a protobuf file. Raises WeightsError."""
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size == 0:
                raise WeightsError(f"{path}: the file is empty")
            if size > wire.INT_MAX and stream.read(len(HDF5_MAGIC)) != HDF5_MAGIC:
                raise WeightsError(
                    f"{path}: {size} bytes; protobuf files end at {wire.INT_MAX} (2 GiB - 1). "
                    "Bigger nets need HDF5 weights (.caffemodel.h5)"
                )
            return MappedFile.of(path, stream)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def refuse_other_files(path: str, *wanted: str) -> None:
    """Raise WeightsError, saying what it is, for a file of none of the ``wanted`` kinds (``files.kinds``)."""
    wrong = wrong_file(path, *wanted)
    if wrong:
        raise WeightsError(f"{path}: {wrong}")


class MappedBlob(WeightBlob):
    """A blob whose values lie in a memory-mapped protobuf file."""

    def __init__(self, buffer: MappedFile, entry: wire.BlobEntry, where: str) -> None:
        super().__init__(entry.shape, entry.legacy, where)
        self._buffer = buffer
        self._segments = entry.segments
        self.raw = entry.raw

    def again(self) -> FileValues | None:
        usual = all(segment.stride == segment.width == 4 for segment in self._segments)
        worth_it = self.count >= _WORTH_READING_AGAIN and sys.byteorder == "little"
        if not (usual and worth_it and hasattr(os, "preadv")):
            return None
        spans = [(segment.start, segment.count) for segment in self._segments]
        return FileValues(self._buffer.original, spans, self.where)

    def array(self) -> np.ndarray:
        if len(self._segments) == 1 and self._segments[0].stride == 4:
            start = self._segments[0].start
            return np.frombuffer(self._buffer, "<f4", self.count, start).reshape(self.shape)
        return super().array()

    def _copy(self, destination: np.ndarray) -> None:
        done = 0
        for segment in self._segments:
            step = max(1, _COPY_CHUNK // segment.stride)
            for first in range(0, segment.count, step):
                n = min(step, segment.count - first)
                start = segment.start + first * segment.stride
                destination[done : done + n] = self._values(segment, start, n)
                done += n
                _forget(self._buffer, start, start + n * segment.stride)

    def _values(self, segment: wire.Segment, start: int, n: int) -> np.ndarray:
        if segment.stride == segment.width:
            return np.frombuffer(self._buffer, f"<f{segment.width}", n, start)
        # unpacked: every value but the last is followed by the tag of the next
        values = np.ndarray((n,), f"<f{segment.width}", self._buffer, start, (segment.stride,))
        return values


def mapped_blob(buffer: MappedFile, start: int, end: int, where: str, read: Reading = fields) -> MappedBlob:
    """The BlobProto buffer[start:end]; WeightsError, with ``where`` in front, for one that is damaged."""
    try:
        entry = wire.scan_blob(buffer, start, end, read)
    except Damage as damage:
        raise WeightsError(f"{where}: {damage}") from None
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from None
    return MappedBlob(buffer, entry, where)


def _forget(buffer: mmap.mmap, start: int, end: int) -> None:
    """Give the whole pages of buffer[start:end] back to the page cache; they are not needed again."""
    first, last = -(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE
    if last > first and hasattr(buffer, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        buffer.madvise(mmap.MADV_DONTNEED, first, last - first)
