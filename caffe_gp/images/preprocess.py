"""From an image file to what a Caffe net's input wants, and label maps back to the image's own pixels."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any, Tuple

import numpy as np
from PIL import Image

from caffe_gp.errors import DataError, UsageError, check_array
from caffe_gp.files.hashes import sha256_of_array
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.images.placing import BILINEAR, Placing, bilinear, nearest, place_labels, place_maps
from caffe_gp.images.reading import read_image

Size = Tuple[int, int]  # width, height

# Mean grey levels of FCN's training images: blue, green, red. What most segmentation nets subtract.
FCN_MEAN = (104.00698793, 116.66876762, 122.67891434)


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

    def __repr__(self) -> str:
        return f"<Canvas: data {self.data.shape}, image {self.image.shape}, valid {self.valid}>"


@dataclass(frozen=True)
class Preprocess:
    """Caffe's way x = (pixel - mean) * scale, with pixels 0..255; then zeros at the bottom and right.

    mean           blue, green, red (or one value for every channel), whatever the channel order is
    scale          factor after the subtraction, 1/256 for LeNet
    std            torchvision's way instead, x = (pixel / 255 - mean) / std: mean and std are red, green,
                   blue (or one value), of values 0..1, and ``scale`` stays 1
    channel_order  'bgr' (Caffe's habit) or 'rgb'
    channels       3, or 1 for nets of grey images
    resize         None keeps the native size; (width, height) stretches; a single number scales the longer
                   side to it and keeps the proportions. Bilinear, as Pillow does it
    pad_to         (width, height) of the canvas; zeros are the mean colour
    mean_image     (channels, H, W) float32, blue first, subtracted in place of ``mean`` from images that are
                    of its size after ``resize``
    Raises UsageError for settings that make no sense.
    """

    mean: tuple[float, ...] = FCN_MEAN
    scale: float = 1.0
    channel_order: str = "bgr"
    channels: int = 3
    resize: int | Size | None = None
    pad_to: Size | None = None
    mean_image: np.ndarray | None = field(default=None, compare=False, repr=False)
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.channel_order not in ("bgr", "rgb"):
            raise UsageError(f"channel order must be 'bgr' or 'rgb', found {self.channel_order!r}")
        if self.channels not in (1, 3):
            raise UsageError(f"images have 1 or 3 channels, the net's input has {self.channels}")
        if len(self.mean) not in (1, self.channels):
            order = "blue, green, red" if self.std is None else "red, green, blue"
            raise UsageError(f"mean must be 1 value or {self.channels} ({order}), found {len(self.mean)}")
        if not self.scale or not np.isfinite([self.scale, *self.mean]).all():
            raise UsageError(f"scale must be a finite number other than 0 and the mean finite: {self}")
        if self.std is not None:
            self._check_std(self.std)

    def _check_std(self, std: tuple[float, ...]) -> None:
        if len(std) not in (1, self.channels) or not all(np.isfinite(one) and one > 0 for one in std):
            raise UsageError(
                f"std must be 1 value above 0, or {self.channels} (red, green, blue), found {list(std)}"
            )
        if self.scale != 1 or self.mean_image is not None:
            raise UsageError("std is of values 0..1: it goes with neither a scale nor a mean image")
        if max(map(abs, self.mean)) > 1 or max(std) > 1:
            raise UsageError(
                f"with std, mean and std are of values 0..1 (divide them by 255), found mean "
                f"{list(self.mean)}, std {list(std)}"
            )

    @property
    def grey_level(self) -> float:
        """What a step of one grey level of the image is in units of the input (of ``std``: its mean's)."""
        return abs(self.scale) if self.std is None else 1 / (255 * float(np.mean(self.std)))

    def load(self, path: str | os.PathLike) -> Canvas:
        """Read and convert one image file; DataError if it is missing, damaged or larger than the canvas."""
        return self.canvas(read_image(path), str(path))

    def canvas(self, picture: Image.Image, name: str) -> Canvas:
        """The canvas of a Pillow picture in RGB; DataError, which says ``name``, if it is too large."""
        image = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])
        pixels = self._pixels(picture)
        data = self._data(pixels[np.newaxis], name)[0]
        return Canvas(data, image, (pixels.shape[0], pixels.shape[1]))

    def batch(self, images: np.ndarray) -> np.ndarray:
        """Images in memory, as the net sees them: (N, C, H, W) float32.

        images   (N, h, w, 3) uint8 RGB, or (N, h, w, 1) uint8 grey; a net of the other kind gets grey in all
                 of its channels, or the colours' luminance
        DataError for other arrays, and for images larger than the canvas.
        """
        kind, shape = getattr(images, "dtype", type(images).__name__), np.shape(images)
        if kind != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
            raise DataError(f"images of shape {shape}, {kind}: expected (N, h, w, 1 or 3), uint8")
        high, wide, channels = images.shape[1:]
        if channels != self.channels or (self.resize and self._size((wide, high)) != (wide, high)):
            pictures = [Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image) for image in images]
            images = np.stack([self._pixels(picture) for picture in pictures])
        return self._data(images, "image in memory")

    def picture(self, data: np.ndarray) -> np.ndarray:
        """What the net sees, (C, H, W), as a picture: (H, W, 3) uint8 BGR, rounded and clipped to 0..255."""
        check_array(data, "what the net sees", "f", (self.channels, *np.shape(data)[1:3]))
        values = data[::-1] if self.channel_order == "rgb" else data
        if self.std is None:
            pixels = values.transpose(1, 2, 0) / np.float32(self.scale) + self._mean_of(values.shape[1:])
        else:
            mean, std = self._of_blue_green_red()
            pixels = (values.transpose(1, 2, 0) * std + mean) * np.float32(255)
        pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))

    def canvas_size(self, size: Size) -> Size:
        """(width, height) of the canvas of an image of this size: images are batched by it."""
        return self.pad_to or (self._size(size) if self.resize else size)

    def labels_to_canvas(self, labels: np.ndarray, canvas: Canvas) -> np.ndarray:
        """Ground truth (h, w) laid out like ``canvas.data``: nearest neighbour, 255 on the padding."""
        check_array(labels, "ground truth", "iu", axes=2)
        if labels.shape != canvas.image.shape[:2]:
            raise DataError(
                f"labels of size {labels.shape[::-1]} for an image of {canvas.image.shape[1::-1]}"
            )
        out = np.full(canvas.data.shape[1:], IGNORE, dtype=labels.dtype)
        height, width = canvas.valid
        out[:height, :width] = nearest(labels, (height, width))
        return out

    def labels_to_image(self, labels: np.ndarray, canvas: Canvas, placing: Placing = None) -> np.ndarray:
        """A net's label map laid out like the image file, (h, w): crop the padding, nearest neighbour.

        placing   where a map of another size than the canvas lies on it; 255 where there is none
        """
        check_array(labels, "label map", "iu", axes=2)
        labels = place_labels(labels, canvas.data.shape[1:], placing)
        height, width = canvas.valid
        return nearest(labels[:height, :width], canvas.image.shape[:2])

    def scores_to_image(self, scores: np.ndarray, canvas: Canvas, placing: Placing = None) -> np.ndarray:
        """Score or probability maps (C, h, w) laid out like the image file, (C, H, W) float32: bilinear."""
        check_array(scores, "score maps", "f", axes=3)
        maps = place_maps(scores, canvas.data.shape[1:], placing)
        height, width = canvas.valid
        return bilinear(maps[:, :height, :width], canvas.image.shape[:2])

    def describe(self) -> dict[str, Any]:
        """The settings as JSON can hold them; of a mean image the SHA-256."""
        left_out = ("mean_image",) if self.std is not None else ("mean_image", "std")  # older runs have none
        described = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in left_out}
        if self.mean_image is not None:
            described["mean_image_sha256"] = sha256_of_array(self.mean_image)
        return described

    def _mean_of(self, size: tuple[int, ...]) -> np.ndarray:
        """What is subtracted from pixels of this size, (height, width): channels last."""
        if self.mean_image is not None and self.mean_image.shape[1:] == size:
            return self.mean_image.transpose(1, 2, 0)
        return np.asarray(self.mean, dtype=np.float32)

    def _of_blue_green_red(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std of values 0..1 in the order of pixels here."""
        assert self.std is not None
        return np.asarray(self.mean, np.float32)[::-1], np.asarray(self.std, np.float32)[::-1]

    def _pixels(self, picture: Any) -> np.ndarray:
        """A Pillow picture in the net's number of channels and size: (h, w, channels) uint8, RGB or grey."""
        picture = picture.convert("L" if self.channels == 1 else "RGB")
        if self.resize:
            picture = picture.resize(self._size(picture.size), BILINEAR)
        return np.asarray(picture).reshape(picture.height, picture.width, self.channels)

    def _data(self, pixels: np.ndarray, name: str) -> np.ndarray:
        """The canvases (N, C, H, W) float32 of pixels (N, h, w, C); ``name`` is for messages."""
        high, wide = pixels.shape[1:3]
        width, height = self.pad_to or (wide, high)
        if wide > width or high > height:
            raise DataError(
                f"{name}: the image is {wide} x {high}, more than the canvas of {width} x {height}; resize "
                "it (--resize) or give a larger --pad-to"
            )
        values = pixels[..., ::-1].astype(np.float32)  # blue, green, red
        if self.std is None:
            values -= self._mean_of((high, wide))
            values *= np.float32(self.scale)
        else:
            mean, std = self._of_blue_green_red()
            values /= np.float32(255)
            values -= mean
            values /= std
        if self.channel_order == "rgb":
            values = values[..., ::-1]
        data = np.zeros((len(pixels), self.channels, height, width), dtype=np.float32)
        data[:, :, :high, :wide] = values.transpose(0, 3, 1, 2)
        return data

    def _size(self, size: Size) -> Size:
        if not isinstance(self.resize, int):
            assert self.resize is not None
            return self.resize
        factor = self.resize / max(size)
        return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
