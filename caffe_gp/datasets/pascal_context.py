"""PASCAL-Context: label maps of 459 classes in .mat files, and the 59 of them that are evaluated.

The 59 classes and their order are FCN-8s's; everything else is 0, background, which is no class of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caffe_gp.datasets.mat_files import read_label_mat
from caffe_gp.errors import DataError

ALL_CLASSES = 459
# Number of each of the 59 classes among the 459, in the order of PASCAL_CONTEXT[1:]. There diningtable is
# called 'table', bedcloth 'bedclothes' and clothes 'cloth'.
NUMBERS = (
    *(2, 23, 25, 31, 34, 45, 59, 65, 72, 98, 397, 113, 207, 258, 284, 308, 347, 368, 416, 427),
    *(9, 18, 22, 33, 44, 46, 68, 80, 85, 104, 115, 144, 158, 159, 162, 187, 189, 220, 232, 259),
    *(260, 105, 296, 355, 295, 324, 326, 349, 354, 360, 366, 19, 415, 420, 424, 440, 445, 454, 458),
)


def table() -> np.ndarray:
    """(460,) uint8: label among the 459 (0: none) to label among the 60."""
    to_60 = np.zeros(ALL_CLASSES + 1, np.uint8)
    to_60[list(NUMBERS)] = np.arange(1, len(NUMBERS) + 1)
    return to_60


def read_labels(path: Path, classes: int) -> np.ndarray:
    """The LabelMap of a .mat file as (H, W) uint8 labels 0..59. DataError for a file that is none."""
    assert classes == len(NUMBERS) + 1
    labels = read_label_mat(path, "LabelMap")
    if labels.min() < 0 or labels.max() > ALL_CLASSES:
        raise DataError(f"{path}: labels must be 0..{ALL_CLASSES}, found {labels.min()}..{labels.max()}")
    return table()[labels]
