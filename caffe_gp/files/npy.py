"""NumPy's .npy: arrays of numbers whose size is compared with the file's before they are made."""

from __future__ import annotations

import io
import math
import os
from typing import IO, Any, cast

import numpy as np

from caffe_gp.errors import DataError, why
from caffe_gp.files.zips import Zip

MAX_HEADER_BYTES = 10_000  # numpy's own limit, which it looks at when the header has been read


def npy_header(stream: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype]:
    """(shape, dtype) of the .npy that begins here and has ``size`` bytes. ValueError if these do not agree.

    Nor may it hold Python objects, which are pickled.
    """
    reader: Any = np.lib.format
    version = reader.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of the format is not read")
    read = reader.read_array_header_1_0 if version == (1, 0) else reader.read_array_header_2_0
    length = stream.read(2 if version == (1, 0) else 4)
    if int.from_bytes(length, "little") > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {int.from_bytes(length, 'little')} bytes")
    header = length + stream.read(int.from_bytes(length, "little"))
    try:
        shape, _, dtype = read(io.BytesIO(header))
    except Exception as error:  # numpy has Python parse it, and guards against little of what that raises
        raise ValueError(f"its header is none ({type(error).__name__})") from None
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    if any(side < 0 for side in shape) or stream.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{size} bytes, which its shape {shape} of {dtype} does not take")
    return shape, dtype


def read_npy(stream: IO[bytes], size: int) -> np.ndarray:
    """The array of a seekable .npy of ``size`` bytes. ValueError, EOFError if it is damaged."""
    npy_header(stream, size)
    stream.seek(0)
    return cast(np.ndarray, np.lib.format.read_array(stream, allow_pickle=False))


def read_npz(path: str | os.PathLike, key: str, most_bytes: int) -> np.ndarray:
    """The array ``key`` of an .npz file. DataError for a damaged file, and for an array of more bytes."""
    try:
        with Zip(path) as archive, archive.open(f"{key}.npy") as stream:
            size = archive.getinfo(f"{key}.npy").file_size
            if size > most_bytes:
                raise DataError(f"'{key}' has {size} bytes; at most {most_bytes} are read")
            return read_npy(io.BytesIO(stream.read(size)), size)
    except Exception as error:  # whatever a damaged file makes of its readers
        raise DataError(f"{path}: not a readable .npz file with '{key}' ({why(error)})") from None
