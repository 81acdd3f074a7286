"""Reading label maps in MATLAB files, with errors that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp.errors import DataError, why
from caffe_gp.files.mat5 import MatError, MatStructs, read_mat

MAX_MAT_BYTES = 64 << 20  # a label map of 2,000 x 2,000 float64 has 32 MB


def read_label_mat(path: Path, *fields: str) -> np.ndarray:
    """The label map (H, W) int64 in a .mat file: variable ``fields[0]``, in it the field ``fields[1]``, ...

    Raises DataError for a missing or damaged file, or one that holds something else.
    """
    try:
        labels: Any = read_mat(path, MAX_MAT_BYTES).get(fields[0])
    except FileNotFoundError:
        raise DataError(f"{path}: no such label map") from None
    except OSError as error:
        raise DataError(f"{path}: not a readable .mat file ({error.strerror or error})") from None
    except MatError as error:
        raise DataError(f"{path}: not a readable .mat file ({error})") from None
    except Exception as error:  # whatever a damaged file makes of its readers
        raise DataError(f"{path}: not a readable .mat file ({why(error)})") from None
    for field in fields[1:]:
        holds = isinstance(labels, MatStructs) and len(labels.items) == 1
        labels = labels.items[0].get(field) if holds else None
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or not labels.size:
        raise DataError(f"{path}: expected '{'.'.join(fields)}', labels (H, W), in it; it is not there")
    whole = labels.astype(np.int64) if np.isfinite(labels).all() else None
    if whole is None or (whole != labels).any():
        raise DataError(f"{path}: expected '{'.'.join(fields)}', labels (H, W); it has values that are none")
    return whole
