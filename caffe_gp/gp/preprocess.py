"""From an image file to what a Caffe net's input wants, and label maps back to the image's own pixels."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any, Sequence, Tuple

import numpy as np
from PIL import Image

from caffe_gp.datasets.image_files import read_image
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.gp.encodings import IGNORE_LABEL
from caffe_gp.models.zoo import FCN_MEAN

# Pillow 8 has no Image.Resampling, and type checkers know no Image.BILINEAR.
BILINEAR, NEAREST = Image.BILINEAR, Image.NEAREST  # type: ignore[attr-defined]

Size = Tuple[int, int]  # width, height


@dataclass(frozen=True)
class Canvas:
    """One image as a net sees it.

    data   (C, H, W) float32, ready for the input blob
    image  (h, w, 3) uint8 BGR, the file's own pixels
    valid  (height, width) of the part of ``data`` that holds image, from the top left corner
    """

    data: np.ndarray
    image: np.ndarray
    valid: tuple[int, int]


@dataclass(frozen=True)
class Preprocess:
    """x = (pixel - mean) * scale, with pixels 0..255; then zeros at the bottom and right up to ``pad_to``.

    mean           blue, green, red (or one value for every channel), whatever the channel order is
    scale          factor after the subtraction, 1/256 for LeNet
    channel_order  'bgr' (Caffe's habit) or 'rgb'
    channels       3, or 1 for nets of grey images
    resize         None keeps the native size; (width, height) stretches; a single number scales the longer
                   side to it and keeps the proportions. Bilinear, as Pillow does it
    pad_to         (width, height) of the canvas; zeros are the mean colour
    Raises CaffeGPError for settings that make no sense.
    """

    mean: tuple[float, ...] = FCN_MEAN
    scale: float = 1.0
    channel_order: str = "bgr"
    channels: int = 3
    resize: int | Size | None = None
    pad_to: Size | None = None

    def __post_init__(self) -> None:
        if self.channel_order not in ("bgr", "rgb"):
            raise CaffeGPError(f"channel order must be 'bgr' or 'rgb', found {self.channel_order!r}")
        if self.channels not in (1, 3):
            raise CaffeGPError(f"images have 1 or 3 channels, the net's input has {self.channels}")
        if len(self.mean) not in (1, self.channels):
            raise CaffeGPError(
                f"mean must be 1 value or {self.channels} (blue, green, red), found {len(self.mean)}"
            )
        if not self.scale or not np.isfinite([self.scale, *self.mean]).all():
            raise CaffeGPError(f"scale must be a finite number other than 0 and the mean finite: {self}")

    def load(self, path: str | os.PathLike) -> Canvas:
        """Read and convert one image file; DataError if it is missing, damaged or larger than the canvas."""
        picture = read_image(path)
        image = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])
        if self.channels == 1:
            picture = picture.convert("L")
        if self.resize:
            picture = picture.resize(self._size(picture.size), BILINEAR)
        pixels = np.asarray(picture, dtype=np.float32).reshape(picture.height, picture.width, self.channels)
        if self.channels == 3:
            pixels = pixels[:, :, ::-1]
        pixels = (pixels - np.asarray(self.mean, dtype=np.float32)) * np.float32(self.scale)
        if self.channel_order == "rgb":
            pixels = pixels[:, :, ::-1]
        width, height = self.pad_to or picture.size
        if picture.width > width or picture.height > height:
            raise DataError(
                f"{path}: the image is {picture.width} x {picture.height}, more than the canvas of {width} x "
                f"{height}; resize it (--resize) or give a larger --pad-to"
            )
        data = np.zeros((self.channels, height, width), dtype=np.float32)
        data[:, : picture.height, : picture.width] = pixels.transpose(2, 0, 1)
        return Canvas(data, image, (picture.height, picture.width))

    def canvas_size(self, size: Size) -> Size:
        """(width, height) of the canvas of an image of this size: images are batched by it."""
        return self.pad_to or (self._size(size) if self.resize else size)

    def labels_to_canvas(self, labels: np.ndarray, canvas: Canvas) -> np.ndarray:
        """Ground truth (h, w) laid out like ``canvas.data``: nearest neighbour, 255 on the padding."""
        if labels.shape != canvas.image.shape[:2]:
            raise DataError(
                f"labels of size {labels.shape[::-1]} for an image of {canvas.image.shape[1::-1]}"
            )
        out = np.full(canvas.data.shape[1:], IGNORE_LABEL, dtype=labels.dtype)
        height, width = canvas.valid
        out[:height, :width] = nearest(labels, (height, width))
        return out

    def labels_to_image(self, labels: np.ndarray, canvas: Canvas) -> np.ndarray:
        """A net's label map laid out like the image file, (h, w): crop the padding, nearest neighbour."""
        labels = nearest(labels, canvas.data.shape[1:])
        height, width = canvas.valid
        return nearest(labels[:height, :width], canvas.image.shape[:2])

    def scores_to_image(self, scores: np.ndarray, canvas: Canvas) -> np.ndarray:
        """Score or probability maps (C, h, w) laid out like the image file, (C, H, W) float32: bilinear."""
        maps = bilinear(scores, canvas.data.shape[1:])
        height, width = canvas.valid
        return bilinear(maps[:, :height, :width], canvas.image.shape[:2])

    def describe(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        return asdict(self)

    def _size(self, size: Size) -> Size:
        if not isinstance(self.resize, int):
            assert self.resize is not None
            return self.resize
        factor = self.resize / max(size)
        return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def nearest(labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A label map (h, w) resized to ``shape`` (height, width) by the nearest neighbour."""
    if labels.shape == tuple(shape):
        return labels
    picture = Image.fromarray(np.ascontiguousarray(labels))
    return np.asarray(picture.resize((shape[1], shape[0]), NEAREST))


def bilinear(maps: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Maps (C, h, w) resized to ``shape`` (height, width), each on its own, float32."""
    if maps.shape[1:] == tuple(shape):
        return maps
    pictures = [Image.fromarray(np.ascontiguousarray(one, dtype=np.float32)) for one in maps]
    return np.stack([np.asarray(one.resize((shape[1], shape[0]), BILINEAR)) for one in pictures])
