"""Data: Datum messages out of an LMDB."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from google.protobuf.message import DecodeError

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.batches import BatchLayer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.caffe.transformer import DataTransformer, decode_image, planes
from caffe_gp.errors import DataError
from caffe_gp.files.regular import open_regular
from caffe_gp.proto import messages as pb

# A process may open an LMDB once only, and a TRAIN and a TEST net may well read the same one.
_open_databases: weakref.WeakValueDictionary[tuple[int, int], _Database] = weakref.WeakValueDictionary()


class _Database:
    """A read-only LMDB environment, closed when the last layer that uses it goes."""

    def __init__(self, path: str) -> None:
        import lmdb

        self.environment = lmdb.open(
            path, readonly=True, lock=False, readahead=True, subdir=os.path.isdir(path), max_readers=64
        )

    def __del__(self) -> None:
        environment = getattr(self, "environment", None)
        if environment is not None:
            environment.close()


def _open(path: str) -> _Database:
    stat = os.stat(os.path.join(path, "data.mdb") if os.path.isdir(path) else path)
    key = (stat.st_dev, stat.st_ino)
    database = _open_databases.get(key)
    if database is None:
        database = _open_databases[key] = _Database(path)
    return database


@register("Data")
class DataLayer(BatchLayer):
    """Datum messages in the order of their keys, round and round.

    Tops: data (batch, C, H, W) and, if there is a second top, label (batch,). A Datum holds raw bytes,
    floats, or an encoded image (decoded by OpenCV, so BGR).
    """

    min_top = 1
    max_top = 2

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Open the database; shapes come from its first Datum. DataError for what cannot be read."""
        param = self.layer_param.data_param
        self.batch_size = self.check_batch_size(param.batch_size)
        self.source = param.source
        self._open_source(param)
        self.transformer = DataTransformer(self.layer_param.transform_param, self.phase, self.data_error)
        self._records = self._walk()
        key, datum = next(self._walk())
        shape = self.transformer.output_shape(self._image(key, datum), f"record {key!r}")
        top[0].reshape(self.batch_size, *shape)
        self._has_label = len(top) > 1
        if self._has_label:
            top[1].reshape(self.batch_size)

    def _open_source(self, param: Any) -> None:
        if not os.path.exists(self.source):
            raise self.data_error(f"no database {self.source!r}; relative paths start at {os.getcwd()}")
        is_lmdb = os.path.isfile(os.path.join(self.source, "data.mdb"))
        if param.backend != pb.DataParameter.LMDB:
            advice = (
                "This folder holds an LMDB: add 'backend: LMDB' to data_param"
                if is_lmdb
                else "Make an LMDB of it: convert_imageset --backend=lmdb from the images, or copy the "
                "records with plyvel and lmdb, and set 'backend: LMDB'"
            )
            raise self.data_error(
                f"{self.source}: backend LEVELDB (Caffe's default) cannot be read here. {advice}"
            )
        try:
            inside = os.path.join(self.source, "data.mdb")
            open_regular(inside if os.path.isdir(self.source) else self.source).close()
            self._database = _open(self.source)
        except ImportError as error:
            raise self.data_error("reading LMDB needs the lmdb package: pip install lmdb") from error
        except Exception as error:  # lmdb.Error; the package may be absent, so it cannot be named here
            raise self.data_error(f"cannot open {self.source} as LMDB: {error}") from error

    def _walk(self) -> Iterator[tuple[bytes, Any]]:
        environment = self._database.environment
        while True:
            empty = True
            with environment.begin() as transaction:
                for key, value in transaction.cursor():
                    empty = False
                    datum = pb.Datum()
                    try:
                        datum.ParseFromString(value)
                    except DecodeError as error:
                        what = f"{self.source}: record {bytes(key)!r}"
                        raise self.data_error(f"{what} is no Datum: {error}") from error
                    yield bytes(key), datum
            if empty:
                raise self.data_error(f"{self.source}: the database is empty")

    def load_batch(self) -> list[np.ndarray]:
        """The next records; all of a batch must have one shape after the transform."""
        labels = np.zeros(self.batch_size, np.float32)
        data: np.ndarray | None = None
        for i in range(self.batch_size):
            key, datum = next(self._records)
            labels[i] = datum.label
            image = self.transformer(self._image(key, datum), f"record {key!r}")
            if data is None:
                data = np.empty((self.batch_size, *image.shape), np.float32)
            if image.shape != data.shape[1:]:
                raise self.data_error(
                    f"{self.source}: record {key!r} has shape {image.shape}, the first of its batch "
                    f"{data.shape[1:]}; set transform_param.crop_size or batch_size 1"
                )
            data[i] = image
        assert data is not None
        return [data, labels] if self._has_label else [data]

    def _image(self, key: bytes, datum: Any) -> np.ndarray:
        """The datum as (C, H, W): uint8, or float32 where it holds floats."""
        if datum.encoded:
            flag = cv2.IMREAD_UNCHANGED
            if self.transformer.force_color or self.transformer.force_gray:
                flag = cv2.IMREAD_COLOR if self.transformer.force_color else cv2.IMREAD_GRAYSCALE
            record = f"{self.source}: record {key!r}"
            try:
                image = decode_image(datum.data, flag, record)
            except DataError as error:
                raise self.data_error(str(error)) from None
            if image.dtype != np.uint8:
                raise self.data_error(f"{record} is no 8-bit image")
            return planes(image)
        shape = (datum.channels, datum.height, datum.width)
        if datum.data:
            values = np.frombuffer(datum.data, np.uint8)
        else:
            values = np.array(datum.float_data, np.float32)
        if min(shape) < 1 or values.size != math.prod(shape):
            raise self.data_error(
                f"{self.source}: record {key!r} says shape {shape} and holds {values.size} values"
            )
        return values.reshape(shape)
