"""Reading CIFAR-10 as it was published: pickles ('python version') or records of bytes ('binary version').

    images, labels = read(root, "train")          # root holds cifar-10-batches-py/ or cifar-10-batches-bin/

A pickle can make Python call anything, so these are read by an unpickler that knows nothing but arrays.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np

from caffe_gp.errors import DataError, quoted, why
from caffe_gp.files.mirrors import FETCH_DATA
from caffe_gp.files.regular import open_regular, read_regular

PICKLES, RECORDS = "cifar-10-batches-py", "cifar-10-batches-bin"
PICKLE_FILES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
RECORD_FILES = {part: tuple(f"{name}.bin" for name in names) for part, names in PICKLE_FILES.items()}

SIDE, CHANNELS = 32, 3
BYTES = CHANNELS * SIDE * SIDE
IMAGES_A_FILE = 10_000
_RECORD = 1 + BYTES  # the label, then the image
MAX_BATCH_BYTES = 2 * IMAGES_A_FILE * _RECORD  # of a pickle, which has names and numbers besides


def read(root: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) uint8 red, green, blue, and labels (N,) int64 of 'train' or 'test'.

    Raises DataError where the files are not there, or are not CIFAR-10's.
    """
    forms = (
        ([root / PICKLES / name for name in PICKLE_FILES[part]], _read_pickle),
        ([root / RECORDS / name for name in RECORD_FILES[part]], _read_records),
    )
    begun = [(paths, read_batch) for paths, read_batch in forms if paths[0].parent.is_dir()]
    if not begun:
        raise DataError(
            f"{root}: neither {PICKLES} nor {RECORDS} is in it; '{FETCH_DATA} cifar10' gets the first"
        )
    whole = [form for form in begun if all(path.is_file() for path in form[0])]  # goes before half a one
    paths, read_batch = (whole or begun)[0]
    batches = [read_batch(path) for path in paths]
    planes = np.concatenate([images for images, _ in batches]).reshape(-1, CHANNELS, SIDE, SIDE)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return images, np.concatenate([labels for _, labels in batches]).astype(np.int64)


def _read_records(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        content = read_regular(path, MAX_BATCH_BYTES)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    expected = IMAGES_A_FILE * _RECORD
    if len(content) != expected:
        raise DataError(f"{path}: expected {IMAGES_A_FILE} records, {expected} bytes; found {len(content)}")
    records = np.frombuffer(content, np.uint8).reshape(IMAGES_A_FILE, _RECORD)
    return records[:, 1:], records[:, 0]


def _read_pickle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with open_regular(path, MAX_BATCH_BYTES) as stream:
            batch = _ArrayUnpickler(stream).load()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # damaged pickles raise errors of many kinds
        raise DataError(f"{path}: not a batch of CIFAR-10 ({type(error).__name__}: {why(error)})") from None
    if not isinstance(batch, dict):
        raise DataError(f"{path}: expected a dict with 'data' and 'labels', found {type(batch).__name__}")
    images, labels = batch.get(b"data"), batch.get(b"labels")
    shape = (IMAGES_A_FILE, BYTES)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape != shape:
        found = f"{images.shape} {images.dtype}" if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{path}: expected 'data', {shape} uint8; found {found}")
    if not isinstance(labels, list) or len(labels) != IMAGES_A_FILE or not all(map(_is_integer, labels)):
        found = f"{len(labels)}" if isinstance(labels, list) else type(labels).__name__
        raise DataError(f"{path}: expected 'labels', a list of {IMAGES_A_FILE} integers; found {found}")
    return images, np.array(labels, np.int64)


def _is_integer(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 255


_NDARRAY = object()  # stands for numpy's class, which could be called with any shape


# Pickle's reader in Python, not the one in C: that one makes room for as many values to remember as a file
# names numbers for, 64 GB for 10 bytes.
class _ArrayUnpickler(pickle._Unpickler):
    """Makes one array of bytes and Python's own dict, list, str, int; refuses to look up anything else."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream, encoding="bytes")
        self._arrays = 0
        self._known = {"_reconstruct": self._empty_array, "ndarray": _NDARRAY, "dtype": self._type_of_bytes}

    def find_class(self, module: str, name: str) -> Any:
        # numpy.core.multiarray, in a file of numpy 2 numpy._core.multiarray
        if module.split(".")[0] == "numpy" and name in self._known:
            return self._known[name]
        raise pickle.UnpicklingError(f"it asks for {quoted(f'{module}.{name}', 40)}, which no array needs")

    def _empty_array(self, kind: Any, shape: Any, code: Any) -> np.ndarray:
        """What an array starts as before its state is set; pickles of arrays ask for no size here."""
        self._arrays += 1
        if kind is not _NDARRAY or shape != (0,) or self._arrays > 1:
            raise pickle.UnpicklingError("more than one array, or one that does not start empty")
        return np.ndarray((0,), np.uint8)

    def _type_of_bytes(self, name: Any, *_: Any) -> np.dtype:
        if name not in ("u1", b"u1"):
            raise pickle.UnpicklingError("an array of other numbers than bytes")
        return np.dtype(np.uint8)
