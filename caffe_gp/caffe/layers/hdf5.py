"""HDF5Data and HDF5Output: named arrays in HDF5 files."""

from __future__ import annotations

import os
from collections.abc import Sequence

import h5py
import numpy as np

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.batches import BatchLayer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.caffe.transformer import new_rng
from caffe_gp.errors import DataError, quoted
from caffe_gp.files.atomic import replacing
from caffe_gp.files.hdf5 import UNREADABLE, Hdf5Error, Hdf5File


@register("HDF5Data")
class HDF5DataLayer(BatchLayer):
    """Rows of the data sets named like the tops, from the files that ``source`` lists, round and round.

    With ``shuffle`` the files and the rows within each are permuted anew every time around. All data sets
    of a file have equally many rows; a file is held in memory while its rows are handed out.
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the list and the first file. DataError for files that do not suit."""
        param = self.layer_param.hdf5_data_param
        if self.layer_param.HasField("transform_param"):
            raise self.error("HDF5Data does not transform data; remove transform_param")
        self.batch_size = self.check_batch_size(param.batch_size)
        self._rng = new_rng() if param.shuffle else None
        lines = self.read_lines(param.source)
        self._files = [(f"{param.source}:{n}", word) for n, line in lines for word in line.split()]
        self._names = list(self.layer_param.top)
        self._shapes: list[tuple[int, ...]] = []
        self._file = self._row = 0
        self._shuffle(self._files)
        self._load()
        for blob, shape in zip(top, self._shapes, strict=True):
            blob.reshape(self.batch_size, *shape)

    def load_batch(self) -> list[np.ndarray]:
        """The next rows, across the ends of files."""
        batch = [np.empty((self.batch_size, *shape), np.float32) for shape in self._shapes]
        for i in range(self.batch_size):
            row = self._order[self._row]
            for out, rows in zip(batch, self._arrays, strict=True):
                out[i] = rows[row]
            self._advance()
        return batch

    def _advance(self) -> None:
        self._row += 1
        if self._row < len(self._order):
            return
        self._row = 0
        if len(self._files) == 1:
            self._shuffle(self._order)
            return
        self._file += 1
        if self._file == len(self._files):
            self._file = 0
            self._shuffle(self._files)
        self._load()

    def _shuffle(self, items: list) -> None:
        if self._rng is not None:
            self._rng.shuffle(items)

    def _load(self) -> None:
        where, path = self._files[self._file]
        if "\0" in path or not os.path.exists(path):
            raise self.data_error(
                f"{where}: cannot read {quoted(os.path.basename(path))} as HDF5: there is no such file"
            )
        try:
            with Hdf5File(path) as file:
                self._arrays = [self._dataset(file, name, f"{where}: {path}") for name in self._names]
        except DataError:
            raise
        except UNREADABLE as error:
            raise self.data_error(f"{where}: cannot read {path} as HDF5: {error}") from error
        rows = [len(array) for array in self._arrays]
        if len(set(rows)) != 1 or rows[0] == 0:
            found = ", ".join(f"{name} {n}" for name, n in zip(self._names, rows, strict=True))
            raise self.data_error(f"{where}: {path}: expected equally many rows, at least one, found {found}")
        shapes = [array.shape[1:] for array in self._arrays]
        if self._shapes and shapes != self._shapes:
            raise self.data_error(f"{where}: {path} has rows of {shapes}, the first file of {self._shapes}")
        self._shapes = shapes
        self._order = list(range(rows[0]))
        self._shuffle(self._order)

    def _dataset(self, file: Hdf5File, name: str, where: str) -> np.ndarray:
        dataset = file.child(file.root, name)
        if not isinstance(dataset, h5py.Dataset):
            found = ", ".join(file.members(file.root)) or "none"
            raise self.data_error(f"{where} has no data set '{name}' (found: {found})")
        try:
            file.check(dataset)
            if dataset.ndim < 1 or dataset.dtype.kind not in "fiu":
                raise self.data_error(
                    f"{where}: data set '{name}' must hold rows of numbers, found {dataset.dtype} "
                    f"{dataset.shape}"
                )
            return file.values(dataset).astype(np.float32, copy=False)
        except Hdf5Error as error:
            raise self.data_error(f"{where}: data set '{name}': {error}") from None


@register("HDF5Output")
class HDF5OutputLayer(Layer):
    """Writes its two bottoms to the data sets ``data`` and ``label`` of one file.

    Both have Caffe's four old axes (num, channels, height, width): 1-D labels become (num, 1, 1, 1). A bottom
    of more axes, which BVLC Caffe aborts on, keeps them.

    Every forward appends its rows. (BVLC Caffe aborts in the second forward, because the data sets exist.)
    The file of an earlier net is replaced when the first rows come.
    """

    exact_num_bottom = 2
    exact_num_top = 0

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._path = self.layer_param.hdf5_output_param.file_name
        folder = os.path.dirname(self._path) or "."
        if not self._path or not os.path.isdir(folder):
            raise self._error(f"the folder {folder} does not exist" if self._path else "file_name is not set")
        self._started = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """No tops; NetError unless there are as many labels as rows."""
        if not bottom[0].shape or bottom[0].shape[:1] != bottom[1].shape[:1]:
            raise self.error(f"expected equally many rows, found {bottom[0].shape} and {bottom[1].shape}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Append the bottoms' rows; the file is whole and closed afterwards."""
        try:
            if self._started:
                with h5py.File(self._path, "r+") as file:
                    self._append(file, bottom)
            else:
                self._create(bottom)
        except OSError as error:
            raise self._error(str(error)) from error
        self._started = True

    def _create(self, bottom: Sequence[Blob]) -> None:
        with replacing(self._path) as stream, h5py.File(stream, "w") as file:
            self._append(file, bottom)

    def _append(self, file: h5py.File, bottom: Sequence[Blob]) -> None:
        for name, blob in zip(("data", "label"), bottom, strict=True):
            rows = blob.read_data().reshape(blob.shape + (1,) * (4 - len(blob.shape)))
            if name not in file:
                file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]))
                continue
            dataset = file[name]
            if dataset.shape[1:] != rows.shape[1:]:
                raise self._error(f"{name} has rows of {dataset.shape[1:]}, the new ones of {rows.shape[1:]}")
            dataset.resize(len(dataset) + len(rows), axis=0)
            dataset[-len(rows) :] = rows

    def _error(self, message: str) -> DataError:
        return DataError(f"layer '{self.name}' (HDF5Output): cannot write {self._path}: {message}")

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Nothing: the bottoms' diffs stay as they are."""
