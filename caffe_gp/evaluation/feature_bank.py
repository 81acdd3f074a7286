"""What nearest-neighbour GP needs of a training set, computed once and kept: features and gradients.

    bank = FeatureBank(folder, method, train, preprocess, key)
    bank.features()["ip1"]                 # (N, D) float32 of all training images
    bank.directions(rows)                  # (n, C, H, W) int8: sign of each image's own gradient

A bank belongs to one net and one training set (``key``); features of any blob and gradients at any blob may
be added to it. Neither depends on the test images, so every run over them shares it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import quote

import numpy as np

from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.errors import DataError
from caffe_gp.files.json_files import read_object, write_json
from caffe_gp.gp import NeighbourPerturbation
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.runs.batches import FittingParts
from caffe_gp.runs.progress import progress_bar
from caffe_gp.runs.records import as_read_back, check_key
from caffe_gp.runs.row_files import RowFiles

_FILE_BYTES = 1 << 26


class FeatureBank:
    """Features and gradients of the images of ``data``, in ``folder``.

    method       the net; its ``features`` and ``blob`` are what is computed
    preprocess   how images are fed to it
    key          everything that the values depend on; DataError names the field in which the folder's differs
    batch_size   images at once; changes last bits only
    """

    def __init__(
        self,
        folder: Path,
        method: NeighbourPerturbation,
        data: ClassificationSet,
        preprocess: Preprocess,
        key: dict[str, Any],
        *,
        batch_size: int = 100,
        quiet: bool = False,
    ) -> None:
        self.folder, self.method, self.data, self.preprocess = Path(folder), method, data, preprocess
        self.batch_size, self.quiet = batch_size, quiet
        self._key = as_read_back(key)
        self._parts = FittingParts(quiet)
        self._row_files: dict[Path, RowFiles] = {}
        self._claim()

    def features(self) -> dict[str, np.ndarray]:
        """The features of all images by blob, (N, D) float32; what is missing is computed and stored."""
        self._claim()
        every = np.arange(len(self.data.labels))
        files = {name: self._files("features", name, np.float32) for name in self.method.features}
        missing = {name: one.missing(every) for name, one in files.items()}
        todo = np.unique(np.concatenate(list(missing.values())))
        sizes = [4 * self.method.net.blobs[name].data[0].size for name in files]
        for rows, batches in self._pieces(todo, max(sizes), f"features {', '.join(files)}"):
            found: dict[str, list[np.ndarray]] = {name: [] for name in files}
            for batch in batches:
                for looked in self._parts.of(len(batch), partial(self._look, batch)):
                    for name, values in looked.items():
                        found[name].append(values)
            self._claim()
            for name, one in files.items():
                wanted = np.isin(rows, missing[name])
                if wanted.any():
                    one.add(rows[wanted], np.concatenate(found[name])[wanted])
        return {name: one.read(every) for name, one in files.items()}

    def directions(self, rows: np.ndarray) -> np.ndarray:
        """Signs of the gradients of images ``rows`` (n,), each towards its own class: (n, ...) int8.

        Shaped like the method's blob. What is missing is computed and stored.
        """
        self._claim()
        files = self._files("directions", self.method.blob, np.int8)
        size = self.method.net.blobs[self.method.blob].data[0].size
        for piece, batches in self._pieces(files.missing(rows), size, f"gradients at {self.method.blob}"):
            found = [
                signs
                for batch in batches
                for signs in self._parts.of(len(batch), partial(self._directions, batch))
            ]
            self._claim()
            files.add(piece, np.concatenate(found))
        signs = files.read(rows)
        if signs.size and not -1 <= signs.min() <= signs.max() <= 1:
            raise DataError(
                f"{files.folder}: holds values that are no signs, as where a file was edited; remove this "
                "folder, and its rows are computed again"
            )
        return signs

    def _claim(self) -> None:
        """A bank without rows is anyone's: whoever reads or adds some makes sure of the key."""
        path = self.folder / "key.json"
        found = read_object(path, "remove the bank's folder") if path.exists() else None
        if found is not None and next(self.folder.glob("*/*/*.h5"), None):
            check_key(self.folder, found, self._key)
        elif found != self._key:
            write_json(path, self._key)

    def _files(self, kind: str, blob: str, dtype: Any) -> RowFiles:
        """Those of a blob, with what others have added until now."""
        folder = self.folder / kind / quote(blob, safe="")
        if folder in self._row_files:
            self._row_files[folder].refresh()
        else:
            self._row_files[folder] = RowFiles(folder, len(self.data.labels), dtype)
        return self._row_files[folder]

    def _look(self, batch: np.ndarray, part: slice) -> dict[str, np.ndarray]:
        return self.method.look(self._images(batch[part]))[1]

    def _directions(self, batch: np.ndarray, part: slice) -> np.ndarray:
        return self.method.directions(self._images(batch[part]), self.data.labels[batch[part]])

    def _images(self, rows: np.ndarray) -> np.ndarray:
        return self.preprocess.batch(self.data.images[rows])

    def _pieces(
        self, rows: np.ndarray, row_bytes: int, what: str
    ) -> Iterator[tuple[np.ndarray, Iterator[np.ndarray]]]:
        """Rows in pieces of one file each, and the batches of each piece, under a progress bar."""
        step = self.batch_size * max(1, _FILE_BYTES // (row_bytes * self.batch_size))
        with progress_bar(len(rows), what=what, quiet=self.quiet or not len(rows)) as bar:
            for first in range(0, len(rows), step):
                piece = rows[first : first + step]
                yield piece, self._batches(piece, bar)

    def _batches(self, rows: np.ndarray, bar: Any) -> Iterator[np.ndarray]:
        for first in range(0, len(rows), self.batch_size):
            batch = rows[first : first + self.batch_size]
            yield batch
            bar.update(len(batch))
