"""What a run over images needs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from caffe_gp.files.hashes import sha256_of


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
