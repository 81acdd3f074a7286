"""Reading weights: caffemodels of every age, HDF5 weights, mean files, solver states.

    with read_weights("net.caffemodel") as weights:
        for name, blobs in weights:
            for blob in blobs:
                blob.copy_to(destination)          # float32, one copy, file to destination

Only layer names and blobs are read: the fields around them have different numbers in different
forks. The file is memory-mapped; ``copy_to`` gives pages back as it goes, so that loading 545 MB takes
545 MB (the destination) and not twice that.
"""
from __future__ import annotations

import mmap
import os
from typing import Iterator

import numpy as np

from ..errors import WeightsError
from . import wire
from .wire import LEN, VARINT, Damage

_COPY_CHUNK = 8 << 20
_PAGE = mmap.ALLOCATIONGRANULARITY
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class WeightBlob:
    """One parameter blob of a file. ``shape`` is a tuple; ``count`` the number of its values.

    ``legacy``: the shape was given as num, channels, height, width, so it always has 4 axes (a bias of
    N values is (1, 1, 1, N)); ``fits`` compares it with a net's.
    """

    def __init__(self, shape: tuple[int, ...], legacy: bool, where: str) -> None:
        self.shape = tuple(shape)
        self.legacy = legacy
        self.where = where
        self.count = 1
        for dim in self.shape:
            self.count *= dim

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether these values may go into a net's blob of this shape, by Caffe's Blob::ShapeEquals.

        The shapes must be equal; for a legacy blob the net's is first filled up with ones in front to 4 axes.
        """
        if self.legacy:
            shape = (1,) * (4 - len(shape)) + tuple(shape)
        return self.shape == tuple(shape)

    def copy_to(self, destination: np.ndarray) -> None:
        """Copy all values into ``destination``, a writeable C-contiguous float32 array of ``count`` values.

        Its shape is not compared: that is the net's business. Raises WeightsError.
        """
        flags = destination.flags
        if destination.dtype != np.float32 or not flags.c_contiguous or not flags.writeable:
            raise WeightsError(f"{self.where}: can only be copied into a writeable, contiguous float32 array")
        if destination.size != self.count:
            raise WeightsError(f"{self.where}: has shape {self.shape} ({self.count} values); the destination "
                               f"has shape {destination.shape} ({destination.size} values)")
        self._copy(destination.reshape(-1))

    def array(self) -> np.ndarray:
        """The values as a float32 array of ``shape``: a read-only view of the file where it can be one."""
        values = np.empty(self.count, np.float32)
        self._copy(values)
        return values.reshape(self.shape)

    def _copy(self, destination: np.ndarray) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<WeightBlob {self.where} shape={self.shape}{' legacy' if self.legacy else ''}>"


class _MappedBlob(WeightBlob):
    """A blob whose values lie in a memory-mapped protobuf file."""

    def __init__(self, buffer, entry: wire.BlobEntry, where: str) -> None:
        super().__init__(entry.shape, entry.legacy, where)
        self._buffer = buffer
        self._segments = entry.segments

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
                destination[done:done + n] = self._values(segment, start, n)
                done += n
                _forget(self._buffer, start, start + n * segment.stride)

    def _values(self, segment: wire.Segment, start: int, n: int) -> np.ndarray:
        if segment.stride == segment.width:
            return np.frombuffer(self._buffer, f"<f{segment.width}", n, start)
        # unpacked: every value but the last is followed by the tag of the next
        values = np.ndarray((n,), f"<f{segment.width}", self._buffer, start, (segment.stride,))
        return values


def _forget(buffer, start: int, end: int) -> None:
    """Give the whole pages of buffer[start:end] back to the page cache; they are not needed again."""
    first, last = -(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE
    if last > first and hasattr(buffer, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        buffer.madvise(mmap.MADV_DONTNEED, first, last - first)


class Weights:
    """The weights of a file: iterates over ``(layer name, [WeightBlob, ...])`` in file order.

    ``path`` and ``format`` ("caffemodel V0", "V1", "V2" or "hdf5") say what was read. Names may repeat
    (Caffe's files allow it). In an HDF5 file a parameter that belongs to another layer is absent:
    its place in the list holds None. Close it, or leave its ``with`` block, when the values are copied.
    """

    def __init__(self, path: str, format: str, layers: list[tuple[str, list[WeightBlob | None]]],
                 resources=()) -> None:
        self.path = path
        self.format = format
        self._layers = layers
        self._resources = list(resources)

    def __iter__(self) -> Iterator[tuple[str, list[WeightBlob | None]]]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    @property
    def names(self) -> list[str]:
        """Layer names in file order."""
        return [name for name, _ in self._layers]

    def as_dict(self) -> dict[str, list[np.ndarray]]:
        """Copies of all arrays by layer name, layers without blobs left out; first of equal names wins.

        A layer of an HDF5 file that lacks a blob (it belongs to another layer) keeps None in its place.
        """
        arrays: dict[str, list] = {}
        for name, blobs in self._layers:
            if blobs and name not in arrays:
                arrays[name] = [None if blob is None else np.array(blob.array()) for blob in blobs]
        return arrays

    def close(self) -> None:
        """Forget the layers. The file is unmapped when the last blob or array of it is gone.

        (Not sooner: arrays made by numpy < 1.20 do not stop a mapping from being closed under them.)
        """
        self._layers = []
        while self._resources:
            self._resources.pop().close()

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *exc) -> None:
        self.close()


def read_weights(path) -> Weights:
    """Open a weight file: a caffemodel (V0, V1 or V2) or HDF5 weights, told apart by content.

    Everything but the values themselves is checked here. Raises WeightsError for what is missing,
    damaged, truncated or no weight file at all, naming file, layer, blob and byte offset.
    """
    path = os.fspath(path)
    buffer, head = _map_file(path)
    if head.startswith(_HDF5_MAGIC):
        buffer.close()
        return _read_hdf5(path)
    _refuse_other_files(path, head)
    try:
        format, layers = _scan_net(buffer, path)
    except Damage as damage:
        raise WeightsError(f"{path}: {damage}. If it is a caffemodel, it is damaged: get it again") from None
    return Weights(path, format, layers)


def _map_file(path: str):
    """(read-only memory map, its first bytes) of a protobuf file. Raises WeightsError."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size == 0:
                raise WeightsError(f"{path}: the file is empty")
            head = stream.read(512)
            if size > wire.INT_MAX and not head.startswith(_HDF5_MAGIC):
                raise WeightsError(f"{path}: {size} bytes; protobuf files end at {wire.INT_MAX} (2 GiB - 1). "
                                   "Bigger nets need HDF5 weights (.caffemodel.h5)")
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), head
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _refuse_other_files(path: str, head: bytes) -> None:
    """Raise WeightsError for the files that people most often pass by mistake."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path}: this is a git-LFS pointer, not the weights. Run 'git lfs pull' in its "
                           "repository or download the real file")
    if start.startswith(b"<"):
        raise WeightsError(f"{path}: this is a web page, not weights. Download the raw file (a release page, "
                           "a login page or an error page was saved instead)")
    if start.startswith(b"PK\x03\x04") or start.startswith(b"\x1f\x8b"):
        raise WeightsError(f"{path}: this is a compressed archive. Unpack it and pass the caffemodel inside")
    # Lengths and floats put control bytes into the first 512 bytes of any caffemodel.
    if not any(byte < 9 or 13 < byte < 32 or byte > 126 for byte in head) and b"{" in head:
        raise WeightsError(f"{path}: this is text (a prototxt?), not weights")


def _scan_net(buffer, path: str):
    """(format, layers) of a NetParameter: field 100 is a V2 layer, field 2 a V1 (or V0) one."""
    v1, v2 = [], []
    for field in wire.fields(buffer, 0, len(buffer)):
        if field.number == 1 and field.wire_type == VARINT:
            raise WeightsError(f"{path}: this is no caffemodel; it looks like a mean file or a solverstate")
        if field.number in (1, 2, 100):
            expected = {1: "the net's name", 2: "a V1 layer", 100: "a layer"}[field.number]
            wire.expect(field, LEN, expected)
        if field.number == 2:
            v1.append(_scan_layer(buffer, field, path, name_field=4, blobs_field=6, v0_field=1))
        elif field.number == 100:
            v2.append(_scan_layer(buffer, field, path, name_field=1, blobs_field=7))
    if not v1 and not v2:
        raise WeightsError(f"{path}: no layers found; this is no caffemodel, or a damaged one")
    if v1:  # Caffe's upgrade keeps the V1 layers where a file has both
        is_v0 = any(v0 for _, _, v0 in v1)
        return "caffemodel V0" if is_v0 else "caffemodel V1", [(name, blobs) for name, blobs, _ in v1]
    return "caffemodel V2", [(name, blobs) for name, blobs, _ in v2]


def _scan_layer(buffer, outer, path: str, name_field: int, blobs_field: int, v0_field: int | None = None):
    """(name, blobs, is V0) of one layer; a V1 entry may wrap a V0 one, whose name and blobs then count."""
    name, spans = "", []
    for field in wire.fields(buffer, outer.start, outer.end):
        if field.number == name_field:
            wire.expect(field, LEN, "a layer's name")
            name = bytes(buffer[field.start:field.end]).decode("utf-8", "replace")
        elif field.number == blobs_field:
            wire.expect(field, LEN, f"a blob of layer '{name}'")
            spans.append(field)
        elif field.number == v0_field:
            wire.expect(field, LEN, "a V0 layer")
            inner_name, blobs, _ = _scan_layer(buffer, field, path, name_field=1, blobs_field=50)
            return inner_name, blobs, True
    blobs = []
    for index, field in enumerate(spans):
        where = f"{path}: layer '{name}', blob {index}"
        blobs.append(_blob(buffer, field.start, field.end, where))
    return name, blobs, False


def _blob(buffer, start: int, end: int, where: str) -> _MappedBlob:
    try:
        entry = wire.scan_blob(buffer, start, end)
    except Damage as damage:
        raise WeightsError(f"{where}: {damage}") from None
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from None
    return _MappedBlob(buffer, entry, where)


def read_blob(path) -> np.ndarray:
    """The single blob of a BlobProto file (``mean.binaryproto``) as a float32 array of its shape.

    Mean images are (1, channels, height, width), grey levels, in the channel order of the data base
    (BGR with Caffe's tools). Raises WeightsError.
    """
    path = os.fspath(path)
    buffer, head = _map_file(path)
    _refuse_other_files(path, head)
    with buffer:
        return np.array(_blob(buffer, 0, len(buffer), path).array())


class SolverStateFile(Weights):
    """A ``.solverstate``: ``iter``, ``learned_net``, ``current_step`` and the ``history`` blobs."""

    def __init__(self, path: str, iter: int, learned_net: str, current_step: int,
                 history: list[WeightBlob]) -> None:
        super().__init__(path, "solverstate", [("history", list(history))])
        self.iter = iter
        self.learned_net = learned_net
        self.current_step = current_step
        self.history = list(history)


def read_solverstate(path) -> SolverStateFile:
    """Open a binary solver state as Caffe's snapshots write it. Raises WeightsError."""
    path = os.fspath(path)
    buffer, head = _map_file(path)
    _refuse_other_files(path, head)
    values = {1: 0, 4: 0}
    learned_net = ""
    history: list[WeightBlob] = []
    try:
        for field in wire.fields(buffer, 0, len(buffer)):
            if field.number in values:
                wire.expect(field, VARINT, "iter" if field.number == 1 else "current_step")
                values[field.number] = field.value
            elif field.number == 2:
                wire.expect(field, LEN, "learned_net")
                learned_net = bytes(buffer[field.start:field.end]).decode("utf-8", "replace")
            elif field.number == 3:
                wire.expect(field, LEN, "history")
                history.append(_blob(buffer, field.start, field.end, f"{path}: history blob {len(history)}"))
    except Damage as damage:
        raise WeightsError(f"{path}: {damage}. Is it a solverstate?") from None
    return SolverStateFile(path, values[1], learned_net, values[4], history)


# ------------------------------------------------------------------------------------------- HDF5

class _Hdf5Blob(WeightBlob):
    """A blob in an HDF5 file, float32 or float64 there."""

    def __init__(self, dataset, where: str) -> None:
        super().__init__(dataset.shape, False, where)
        if dataset.dtype.kind != "f":
            raise WeightsError(f"{where}: holds {dataset.dtype}, expected floats")
        if self.count > wire.INT_MAX:
            raise WeightsError(f"{where}: the shape {self.shape} has {self.count} values; the limit is "
                               f"{wire.INT_MAX}")
        if self.count and not dataset.id.get_storage_size():
            raise WeightsError(f"{where}: the blob has no data; expected {self.count} values for shape "
                               f"{self.shape}")
        self._dataset = dataset

    def _copy(self, destination: np.ndarray) -> None:
        if not self.count:
            return
        try:
            if self.shape:
                self._dataset.read_direct(destination.reshape(self.shape))
            else:
                destination[0] = self._dataset[()]
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise WeightsError(f"{self.where}: cannot be read: {error}") from None


def _read_hdf5(path: str) -> Weights:
    """HDF5 weights as Net::ToHDF5 writes them: datasets data/<layer>/<index>."""
    import h5py

    try:
        archive = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path}: a damaged HDF5 file: {error}") from None
    try:
        if "data" not in archive or not isinstance(archive["data"], h5py.Group):
            raise WeightsError(f"{path}: an HDF5 file without the group 'data'; Caffe's weights are in "
                               "data/<layer>/<index>")
        layers: list[tuple[str, list[WeightBlob | None]]] = []
        _walk_hdf5(h5py, archive["data"], "", path, layers, depth=0)
    except WeightsError:
        archive.close()
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, UnicodeError, RecursionError) as error:
        archive.close()
        raise WeightsError(f"{path}: a damaged HDF5 file: {error}") from None
    return Weights(path, "hdf5", layers, [archive])


def _walk_hdf5(h5py, group, name: str, path: str, layers, depth: int) -> None:
    """Collect the layers below ``group``; a layer name with '/' in it is a path of groups."""
    if depth > 32:
        raise WeightsError(f"{path}: groups nested more than 32 deep (a link in a circle?)")
    blobs: dict[int, WeightBlob] = {}
    subgroups = []
    for key in group:
        item = group[key]
        if isinstance(item, h5py.Group):
            subgroups.append((f"{name}/{key}" if name else key, item))
        elif isinstance(item, h5py.Dataset):
            if not (key.isdigit() and int(key) < 10000):
                raise WeightsError(f"{path}: layer '{name}': a dataset named '{key}'; expected 0, 1, ...")
            blobs[int(key)] = _Hdf5Blob(item, f"{path}: layer '{name}', blob {key}")
    if name and (blobs or not subgroups):
        layers.append((name, [blobs.get(i) for i in range(max(blobs) + 1)] if blobs else []))
    for subname, subgroup in subgroups:
        _walk_hdf5(h5py, subgroup, subname, path, layers, depth + 1)
