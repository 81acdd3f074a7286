"""The weights of a file and their blobs, however the file keeps them; ``load`` opens it."""

from __future__ import annotations

from typing import Iterator, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from ..errors import WeightsError
from .file_values import FileValues
from .text import MAX_LAYERS, MAX_NAME_LENGTH

#: Of a layer; an LSTM has 4. A solver keeps up to 2 for each parameter.
MAX_BLOBS = 100
MAX_HISTORY = 4 * MAX_LAYERS
_SHOWN = 60  # characters of a name that is too long
# Caffe counts in 32 bits.
_MAX_DIM = 2**31 - 1


class Resource(Protocol):
    """What ``Weights.close`` closes."""

    def close(self) -> None: ...


class WeightBlob:
    """One parameter blob of a file. ``shape`` is a tuple; ``count`` the number of its values.

    ``legacy``: the shape was given as num, channels, height, width, so it always has 4 axes (a bias of
    N values is (1, 1, 1, N)); ``fits`` compares it with a net's.
    ``raw``: the type of the values of a file by NVIDIA Caffe or OpenCV ('FLOAT16'), which stock BVLC Caffe
    does not read; '' where they are written as Caffe writes them.
    """

    raw = ""

    def __init__(self, shape: tuple[int, ...], legacy: bool, where: str) -> None:
        self.shape = tuple(shape)
        self.legacy = legacy
        self.where = where
        self.count = 1
        for dim in self.shape:
            if not 0 <= dim <= _MAX_DIM:
                raise WeightsError(f"{where}: a dimension of {dim}; at most {_MAX_DIM} is possible")
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
            raise WeightsError(
                f"{self.where}: has shape {self.shape} ({self.count} values); the destination "
                f"has shape {destination.shape} ({destination.size} values)"
            )
        self._copy(destination.reshape(-1))

    def again(self) -> FileValues | None:
        """How to read the values once more, later, where that can be done and they are many."""
        return None

    def array(self) -> np.ndarray:
        """The values as a float32 array of ``shape``: a read-only view of the file where it can be one."""
        values = np.empty(self.count, np.float32)
        self._copy(values)
        return values.reshape(self.shape)

    def _copy(self, destination: np.ndarray) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<WeightBlob {self.where} shape={self.shape}{' legacy' if self.legacy else ''}>"


#: A layer of a file: its name and its blobs; None for one that belongs to another layer.
Layer = Tuple[str, List[Optional[WeightBlob]]]


def check_count(path: str, layers: int) -> None:
    """WeightsError for a file of more than MAX_LAYERS layers."""
    if layers > MAX_LAYERS:
        raise WeightsError(f"{path}: more than {MAX_LAYERS} layers; is it really a file of weights?")


def check_layer(path: str, name: str, blobs: int = 0) -> None:
    """WeightsError for a layer that no net has: by its name, or its number of blobs in a file."""
    if len(name) > MAX_NAME_LENGTH:
        raise WeightsError(
            f"{path}: a layer's name of {len(name)} characters ('{name[:_SHOWN]}...'): names may have "
            f"{MAX_NAME_LENGTH}; it is damaged"
        )
    if blobs > MAX_BLOBS:
        raise WeightsError(f"{path}: layer '{name}': more than {MAX_BLOBS} blobs; it is damaged")


class Weights:
    """The weights of a file: iterates over ``(layer name, [WeightBlob, ...])`` in file order.

    ``path`` and ``format`` ("caffemodel V0", "V1", "V2" or "hdf5") say what was read. Names may repeat
    (Caffe's files allow it). In an HDF5 file a parameter that belongs to another layer is absent:
    its place in the list holds None. Close it, or leave its ``with`` block, when the values are copied.
    """

    def __init__(
        self, path: str, format: str, layers: Sequence[Layer], resources: Sequence[Resource] = ()
    ) -> None:
        self.path = path
        self.format = format
        self._layers = list(layers)
        self._resources = list(resources)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    @property
    def names(self) -> list[str]:
        """Layer names in file order."""
        return [name for name, _ in self._layers]

    def as_dict(self) -> dict[str, list[np.ndarray | None]]:
        """Copies of all arrays by layer name, layers without blobs left out; first of equal names wins.

        A layer of an HDF5 file that lacks a blob (it belongs to another layer) keeps None in its place.
        """
        arrays: dict[str, list[np.ndarray | None]] = {}
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

    def __exit__(self, *exc: object) -> None:
        self.close()


class SolverStateFile(Weights):
    """A ``.solverstate``: ``iter``, ``learned_net``, ``current_step`` and the ``history`` blobs."""

    def __init__(
        self, path: str, iter: int, learned_net: str, current_step: int, history: Sequence[WeightBlob]
    ) -> None:
        super().__init__(path, "solverstate", [("history", list(history))])
        self.iter = iter
        self.learned_net = learned_net
        self.current_step = current_step
        self.history = list(history)
