"""HDF5 weights as Net::ToHDF5 writes them: datasets data/<layer>/<index>."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import WeightsError
from . import wire
from .weights import Layer, WeightBlob, Weights

if TYPE_CHECKING:  # imported where it is used: caffemodels do without
    import h5py


class _Hdf5Blob(WeightBlob):
    """A blob in an HDF5 file, float32 or float64 there."""

    def __init__(self, dataset: h5py.Dataset, where: str) -> None:
        super().__init__(dataset.shape, False, where)
        if dataset.dtype.kind != "f":
            raise WeightsError(f"{where}: holds {dataset.dtype}, expected floats")
        if self.count > wire.INT_MAX:
            raise WeightsError(
                f"{where}: the shape {self.shape} has {self.count} values; the limit is {wire.INT_MAX}"
            )
        if self.count and not dataset.id.get_storage_size():
            raise WeightsError(
                f"{where}: the blob has no data; expected {self.count} values for shape {self.shape}"
            )
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


def read_hdf5(path: str) -> Weights:
    """Open HDF5 weights. Raises WeightsError."""
    import h5py

    try:
        archive = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path}: a damaged HDF5 file: {error}") from None
    try:
        if "data" not in archive or not isinstance(archive["data"], h5py.Group):
            raise WeightsError(
                f"{path}: an HDF5 file without the group 'data'; Caffe's weights are in data/<layer>/<index>"
            )
        layers: list[Layer] = []
        _walk(h5py, archive["data"], "", path, layers, depth=0)
    except WeightsError:
        archive.close()
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, UnicodeError, RecursionError) as error:
        archive.close()
        raise WeightsError(f"{path}: a damaged HDF5 file: {error}") from None
    return Weights(path, "hdf5", layers, [archive])


def _walk(h5py: Any, group: h5py.Group, name: str, path: str, layers: list[Layer], depth: int) -> None:
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
        _walk(h5py, subgroup, subname, path, layers, depth + 1)
