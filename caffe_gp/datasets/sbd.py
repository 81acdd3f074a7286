"""SBD, the Semantic Boundaries Dataset: VOC's classes on 11,355 of its images, label maps in .mat files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caffe_gp.datasets.mat_files import read_label_mat
from caffe_gp.errors import DataError


def read_labels(path: Path, classes: int) -> np.ndarray:
    """GTcls.Segmentation of a file of SBD's ``cls`` as (H, W) uint8 labels; SBD has no void.

    Raises DataError for a file that is none, and for labels outside 0..classes-1.
    """
    labels = read_label_mat(path, "GTcls", "Segmentation")
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise DataError(f"{path}: labels must be 0..{classes - 1}, found {labels.min()}..{labels.max()}")
    return labels.astype(np.uint8)
