"""What a run over images needs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from caffe_gp.errors import DataError
from caffe_gp.files.hashes import sha256_of
from caffe_gp.images.label_maps import IGNORE, check_label_png, read_label_png
from caffe_gp.images.reading import Size, check_image


class LabelledImages(Protocol):
    """What an evaluation needs of its images: ``datasets.segmentation.SegmentationSet`` has it."""

    @property
    def name(self) -> str:
        """For people and keys."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of labels 0, 1, ...; empty where only the net knows them."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The images, in the order of the results."""

    @property
    def background_counts(self) -> bool:
        """False where class 0 is no class but 'everything else'."""

    @property
    def has_truth(self) -> bool:
        """Whether there are label maps."""

    def image(self, item: str) -> Path:
        """The image file of an id."""

    def label_file(self, item: str) -> Path | None:
        """The label file of an id; None for images without."""

    def truth(self, item: str, classes: int | None = None) -> np.ndarray:
        """Ground truth (H, W) uint8, 255 where nothing counts; ``classes``: how many there may be."""

    def absolute(self) -> LabelledImages:
        """The same with absolute paths."""

    def describe(self) -> dict[str, Any]:
        """What a result says about its images."""


def hashes(data: LabelledImages, item: str) -> tuple[str, str | None]:
    """SHA-256 of an image's file and of its label file (None without one)."""
    labels = data.label_file(item)
    return sha256_of(data.image(item)), None if labels is None else sha256_of(labels)


def check_files(data: LabelledImages) -> list[Size]:
    """(width, height) of every image, in order. DataError for the first image or label map that is no good.

    Headers are read, and whole files only where they look cut off: a set of thousands takes seconds.
    """
    sizes = []
    for item in data.ids:
        labels, image = data.label_file(item), data.image(item)
        sizes.append(check_image(image))
        if labels is not None and labels.suffix.lower() != ".mat":
            check_label_png(labels, image)
    return sizes


def check_not_masks(data: LabelledImages) -> None:
    """DataError for label maps that hold 0 and 255 and nothing else: 255 would be dropped as void.

    Reads label maps up to the first that holds something else.
    """
    found: set[int] = set()
    for path in map(data.label_file, data.ids):
        if path is None or path.suffix.lower() == ".mat":
            return
        found.update(np.flatnonzero(np.bincount(read_label_png(path).ravel())).tolist())
        if not found <= {0, IGNORE}:
            return
    if found == {0, IGNORE}:
        raise DataError(
            f"set '{data.name}': its label maps hold 0 and 255 and nothing else, as masks in black and white "
            "do. 255 is void, so class 0 alone would be measured. --label-255 1 makes it class 1; "
            "--label-255 void if it is void indeed (from Python: label_255)"
        )
