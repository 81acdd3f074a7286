"""Reading HDF5 files that others made: values lie in the file itself, and nothing is allocated on its word.

libhdf5 follows links out of the file, takes values from any other file (external storage, virtual data sets)
and, of a stored chunk that unpacks to less than it should, hands out memory that was never written. So links
must be hard, values are numbers or short texts in the file, and chunks are unpacked here.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import zlib
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from caffe_gp.files.regular import open_regular

if TYPE_CHECKING:  # imported where it is used: most of the tools do without
    import h5py

# A data set may unpack to so many times its stored bytes (one-hot labels do), and to so much in any case.
MAX_EXPANSION = 100
ALWAYS_ALLOWED = 64 << 20
MAX_DEPTH = 32  # of groups in groups; Caffe's and Keras' files have three or four
MAX_PATH = 2_000  # characters of the names down to an object; Keras' have some 100 (a layer's name twice)
# Groups and data sets of a file, which ``write_hdf5`` keeps to, too: ResNet-152 has 1,500. h5py takes 0.2 to
# 0.4 ms and some 10 kB for each.
MAX_OBJECTS = 6_000
# Chunks of a file, and one more for so many bytes. h5py makes them of 8 kB and more; each costs 30 us.
MAX_CHUNKS, CHUNK_BYTES = 20_000, 1_000
_SHOWN = 60  # characters of a name in a message
_DEFLATE, _SHUFFLE = 1, 2  # libhdf5's numbers of the filters
_NUMBERS = "fiu"


class Hdf5Error(ValueError):
    """What is wrong with an HDF5 file; the readers of weights and data say which file and whose."""


class Hdf5File:
    """An HDF5 file that is open for reading; ``root`` is its group. Close it, or leave its ``with`` block.

    OSError, RuntimeError, ValueError for files that cannot be read (``UNREADABLE``).
    """

    def __init__(self, source: str | os.PathLike[str] | io.BytesIO) -> None:
        """``source``: a path, or a file in memory."""
        import h5py

        self._stream = source if isinstance(source, io.BytesIO) else open_regular(source)
        try:
            self._size = self._stream.seek(0, os.SEEK_END)
            # By the open stream: by its path libhdf5 would open the file a second time.
            self.root = h5py.File(self._stream, "r")
            try:
                # By the address of an object: where it was met.
                self._met: dict[int, tuple[int, str]] = {_address(self.root): (0, "/")}
            except BaseException:
                self.root.close()
                raise
        except BaseException:
            self._stream.close()
            raise
        # Of data sets: what they take of the file's share.
        self._checked: set[int] = set()
        self._stored = self._unpacked = self._chunks = 0

    def close(self) -> None:
        """Close the file."""
        self.root.close()
        self._stream.close()

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def child(self, group: h5py.Group, name: str) -> Any:
        """The group or data set ``name`` of a group; None if there is none. Hdf5Error for other links."""
        exists = group.id.links.exists(_encoded(name))
        return self._linked(group, _address(group), name, name) if exists else None

    def members(self, group: h5py.Group) -> list[str]:
        """The names in a group. Hdf5Error for more than a file may have."""
        if len(group) > MAX_OBJECTS:
            raise Hdf5Error(f"a group of {len(group)} objects; at most {MAX_OBJECTS} are read of a file")
        return list(group)

    def walk(self, group: h5py.Group) -> Iterator[tuple[str, Any]]:
        """(path, group or data set) of everything below a group, a group before what it holds."""
        yield from self._walk(group, "", 0)

    def _walk(self, group: h5py.Group, path: str, depth: int) -> Iterator[tuple[str, Any]]:
        import h5py

        if depth > MAX_DEPTH:
            raise Hdf5Error(f"groups nested more than {MAX_DEPTH} deep")
        parent = _address(group)
        for name in self.members(group):
            here = f"{path}/{name}" if path else name
            item = self._linked(group, parent, name, here)
            yield here, item
            if isinstance(item, h5py.Group):
                yield from self._walk(item, here, depth + 1)

    def _linked(self, group: h5py.Group, parent: int, name: str, where: str) -> Any:
        """What a hard link of a group leads to; h5py's own look-ups follow the other links to find out.

        Hdf5Error for what another link led to before: a few bytes each, links multiply what a file holds.
        """
        import h5py

        if len(where) > MAX_PATH:
            raise Hdf5Error(f"'{where[:_SHOWN]}...': a name of more than {MAX_PATH} characters")
        if "/" in name or group.id.links.get_info(_encoded(name)).type != h5py.h5l.TYPE_HARD:
            raise Hdf5Error(f"'{where}' is a link to elsewhere, which is not followed")
        item = group[name]
        if self._met.setdefault(_address(item), (parent, name)) != (parent, name):
            raise Hdf5Error(f"'{where}' is there twice, by two links (a circle?)")
        if len(self._met) > MAX_OBJECTS:
            raise Hdf5Error(f"more than {MAX_OBJECTS} groups and data sets, the most that are read of a file")
        return item

    def check(self, dataset: Any) -> None:
        """Hdf5Error unless a data set holds its values, in this file, in a way that ``values`` reads."""
        import h5py

        if not isinstance(dataset, h5py.Dataset):
            raise Hdf5Error("expected a data set")
        address = _address(dataset)
        if address in self._checked:
            return
        layout = dataset.id.get_create_plist()
        # Before its shape is asked for, which opens the files that a virtual one names.
        if layout.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
            raise Hdf5Error("a virtual data set, made of other files' values, which is not read")
        if layout.get_external_count():
            raise Hdf5Error("its values are in another file (external storage), which is not read")
        kind = dataset.id.get_type()
        if dataset.shape is None or not (
            dataset.dtype.kind == "S" or h5py.h5t.py_create(dataset.dtype).equal(kind)
        ):
            raise Hdf5Error(f"holds {dataset.dtype} in a form that is not read")
        self._check_size(dataset, layout)
        self._checked.add(address)

    def _check_size(self, dataset: h5py.Dataset, layout: Any) -> None:
        import h5py

        stored, claimed = dataset.id.get_storage_size(), math.prod(dataset.shape) * dataset.dtype.itemsize
        if stored > self._size:
            raise Hdf5Error(f"claims {stored} stored bytes in a file of {self._size}")
        if claimed and not stored:
            raise Hdf5Error(f"no data: expected {claimed} bytes for shape {dataset.shape}")
        if layout.get_layout() != h5py.h5d.CHUNKED:
            if stored != claimed:
                raise Hdf5Error(f"{stored} bytes are stored, the shape {dataset.shape} takes {claimed}")
            offset = dataset.id.get_offset() or 0
            if offset + stored > self._size:
                raise Hdf5Error("its values end behind the end of the file, which was cut off")
            self._count(stored, stored, 0)
            return
        grid = [range(0, size, step) for size, step in zip(dataset.shape, dataset.chunks)]
        unpacked = math.prod(map(len, grid)) * math.prod(dataset.chunks) * dataset.dtype.itemsize
        most = max(ALWAYS_ALLOWED, MAX_EXPANSION * stored)
        if unpacked > most:
            raise Hdf5Error(f"{stored} stored bytes claim to be {unpacked}; at most {most} are unpacked")
        self._count(stored, unpacked, math.prod(map(len, grid)))

    def _count(self, stored: int, unpacked: int, chunks: int) -> None:
        """Hdf5Error for a data set with which all of them are more than the file could hold."""
        self._stored, self._unpacked = self._stored + stored, self._unpacked + unpacked
        self._chunks += chunks
        if self._stored > self._size:
            raise Hdf5Error(f"its data sets claim {self._stored} stored bytes in a file of {self._size}")
        most = max(ALWAYS_ALLOWED, MAX_EXPANSION * self._size)
        if self._unpacked > most:
            raise Hdf5Error(
                f"a file of {self._size} bytes unpacks to more than {most}, the most that is read"
            )
        if self._chunks > MAX_CHUNKS + self._size // CHUNK_BYTES:
            raise Hdf5Error(
                f"{self._chunks} chunks in a file of {self._size} bytes: save it in larger ones, or without"
            )

    def values(self, dataset: Any, kinds: str = _NUMBERS) -> np.ndarray:
        """The values of a data set. Hdf5Error for one of other ``kinds`` (of numpy's dtype.kind)."""
        import h5py

        self.check(dataset)
        if dataset.dtype.kind not in kinds:
            raise Hdf5Error(f"holds {dataset.dtype}, not {'numbers' if kinds == _NUMBERS else 'text'}")
        out = np.empty(dataset.shape, dataset.dtype)
        if not out.size:
            return out
        layout = dataset.id.get_create_plist()
        if layout.get_layout() != h5py.h5d.CHUNKED:
            dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, out)
            return out
        filters = [layout.get_filter(i)[0] for i in range(layout.get_nfilters())]
        if filters not in ([], [_DEFLATE], [_SHUFFLE], [_SHUFFLE, _DEFLATE]):
            raise Hdf5Error("compressed by other filters than gzip: save it without")
        for start in itertools.product(*(range(0, n, k) for n, k in zip(dataset.shape, dataset.chunks))):
            left_out, stored = dataset.id.read_direct_chunk(start)
            used = [code for i, code in enumerate(filters) if not left_out >> i & 1]
            chunk = _unpack(stored, used, dataset.chunks, dataset.dtype)
            place = tuple(slice(at, at + step) for at, step in zip(start, dataset.chunks))
            target = out[place]
            target[...] = chunk[tuple(map(slice, target.shape))]
        return out


# What Hdf5File, and what is done with it, raises for a damaged file.
UNREADABLE = (
    OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError, UnicodeError,
    RecursionError, MemoryError, OverflowError,
)  # fmt: skip


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _address(item: Any) -> int:
    import h5py

    return h5py.h5o.get_info(item.id).addr


def _unpack(stored: bytes, filters: list[int], shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A chunk of this shape from its stored bytes. Hdf5Error if it has more or fewer."""
    expected = math.prod(shape) * dtype.itemsize
    if _DEFLATE in filters:
        try:
            stream = zlib.decompressobj()
            stored = stream.decompress(stored, expected + 1)
        except zlib.error as error:
            raise Hdf5Error(f"a damaged chunk: {error}") from None
    if len(stored) != expected:
        found = f"more than {expected}" if len(stored) > expected else str(len(stored))
        raise Hdf5Error(f"a chunk of {found} bytes; its shape {shape} takes {expected}")
    if _SHUFFLE in filters:  # all first bytes of the values, all second ones, ...
        stored = np.frombuffer(stored, np.uint8).reshape(dtype.itemsize, -1).T.tobytes()
    return np.frombuffer(stored, dtype).reshape(shape)
