"""Reading MATLAB files, with errors that name them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caffe_gp.errors import DataError
from caffe_gp.files.regular import open_regular

MAX_MAT_BYTES = 64 << 20  # a label map of 2,000 x 2,000 float64 has 32 MB


def read_label_mat(path: Path, *fields: str) -> np.ndarray:
    """The label map (H, W) int64 in a .mat file: variable ``fields[0]``, in it the field ``fields[1]``, ...

    Raises DataError for a missing or damaged file, or one that holds something else.
    """
    from scipy.io import loadmat

    try:
        with open_regular(path, MAX_MAT_BYTES) as stream:
            value = loadmat(stream, squeeze_me=False, struct_as_record=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such label map") from None
    except Exception as error:  # scipy raises errors of many kinds of its own for damaged files
        raise DataError(f"{path}: not a readable .mat file ({error})") from None
    labels = value.get(fields[0])
    for field in fields[1:]:
        holds = isinstance(labels, np.ndarray) and labels.size == 1 and field in (labels.dtype.names or ())
        labels = labels.flat[0][field] if holds else None
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "iuf":
        raise DataError(f"{path}: expected '{'.'.join(fields)}', labels (H, W), in it; it is not there")
    return labels.astype(np.int64)
