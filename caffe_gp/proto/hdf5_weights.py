"""HDF5 weights as Net::ToHDF5 writes them: datasets data/<layer>/<index>."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import WeightsError
from ..files.hdf5 import UNREADABLE, Hdf5File
from . import wire
from .weights import Layer, WeightBlob, Weights, check_count, check_layer

if TYPE_CHECKING:  # imported where it is used: caffemodels do without
    import h5py

_DIGITS = 10  # of a blob's number, before it is read as one


class _Hdf5Blob(WeightBlob):
    """A blob in an HDF5 file, float32 or float64 there."""

    def __init__(self, file: Hdf5File, dataset: h5py.Dataset, where: str) -> None:
        try:
            file.check(dataset)
        except UNREADABLE as error:
            raise WeightsError(f"{where}: {error}") from None
        super().__init__(dataset.shape, False, where)
        if dataset.dtype.kind != "f":
            raise WeightsError(f"{where}: holds {dataset.dtype}, expected floats")
        if self.count > wire.INT_MAX:
            raise WeightsError(
                f"{where}: the shape {self.shape} has {self.count} values; the limit is {wire.INT_MAX}"
            )
        self._file, self._dataset = file, dataset

    def _copy(self, destination: np.ndarray) -> None:
        try:
            destination[:] = self._file.values(self._dataset).reshape(-1)
        except UNREADABLE as error:
            raise WeightsError(f"{self.where}: cannot be read: {error}") from None


def read_hdf5(path: str) -> Weights:
    """Open HDF5 weights. Raises WeightsError."""
    try:
        archive = Hdf5File(path)
    except UNREADABLE as error:
        raise WeightsError(f"{path}: a damaged HDF5 file: {error}") from None
    try:
        return Weights(path, "hdf5", _layers(archive, path), [archive])
    except WeightsError:
        archive.close()
        raise
    except UNREADABLE as error:
        archive.close()
        raise WeightsError(f"{path}: a damaged HDF5 file: {error}") from None


def _layers(archive: Hdf5File, path: str) -> list[Layer]:
    """The layers of a file; a layer name with '/' in it is a path of groups."""
    import h5py

    data = archive.child(archive.root, "data")
    if not isinstance(data, h5py.Group):
        raise WeightsError(
            f"{path}: an HDF5 file without the group 'data'; Caffe's weights are in data/<layer>/<index>"
        )
    found: dict[str, dict[int, WeightBlob]] = {}
    parents = set()
    for name, item in archive.walk(data):
        layer, _, key = name.rpartition("/")
        if isinstance(item, h5py.Group):
            check_layer(path, name)
            found[name] = {}
            check_count(path, len(found))
            parents.add(layer)
        elif isinstance(item, h5py.Dataset):
            if not (key.isdigit() and len(key) < _DIGITS):
                raise WeightsError(f"{path}: layer '{layer}': a dataset named '{key}'; expected 0, 1, ...")
            check_layer(path, layer, int(key) + 1)
            found.setdefault(layer, {})[int(key)] = _Hdf5Blob(
                archive, item, f"{path}: layer '{layer}', blob {key}"
            )
    return [
        (name, _in_order(blobs)) for name, blobs in found.items() if name and (blobs or name not in parents)
    ]


def _in_order(blobs: dict[int, WeightBlob]) -> list[Any]:
    return [blobs.get(i) for i in range(max(blobs) + 1)] if blobs else []
