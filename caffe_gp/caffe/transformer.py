"""Data transformer: crop, mirror, mean and scale of a data layer's images (``transform_param``)."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch

from caffe_gp import proto
from caffe_gp.caffe.layers.base import TRAIN
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.files.regular import read_regular
from caffe_gp.images.limits import MAX_IMAGE_BYTES
from caffe_gp.images.reading import opened_stream


def new_rng() -> np.random.Generator:
    """A generator of a layer's own, seeded from the process-wide one (``set_random_seed``).

    Caffe does the same: a data layer reads ahead, so drawing from the common stream would make the
    numbers of the other layers depend on how far it has read.
    """
    return np.random.default_rng(int(torch.randint(2**63 - 1, ()).item()))


class DataTransformer:
    """What Caffe does to every image between decoding and the blob: ``(crop(x) - mean) * scale``, mirrored.

    TRAIN crops and mirrors at random, TEST crops the centre; mirroring is random in both phases. The mean
    is one value for all channels, one for each, or a file with an image of the *uncropped* size.
    """

    def __init__(self, param: Any, phase: int, error: Callable[[str], CaffeGPError]) -> None:
        """``param`` is a TransformationParameter; ``error`` makes the exception for a message."""
        self.crop_size = param.crop_size
        self.force_color, self.force_gray = param.force_color, param.force_gray
        self._scale = np.float32(param.scale)
        self._mirror = param.mirror
        self._random_crop = bool(param.crop_size) and phase == TRAIN
        self._mean_values = np.array(param.mean_value, np.float32)
        self._mean_file = param.mean_file
        self._mean_image: np.ndarray | None = None
        self._error = error
        self._rng = new_rng() if self._mirror or self._random_crop else None
        if self._mean_file:
            if len(self._mean_values):
                raise error("transform_param cannot have both mean_file and mean_value")
            mean = proto.read_blob(self._mean_file)
            self._mean_image = mean.reshape(mean.shape[-3:] if mean.ndim > 3 else mean.shape)
        if self.force_color and self.force_gray:
            raise error("transform_param cannot have both force_color and force_gray")

    def output_shape(self, image: np.ndarray, what: str) -> tuple[int, int, int]:
        """Shape (C, H, W) that ``image`` of shape (C, H', W') gets; ``what`` names it in messages."""
        channels, height, width = image.shape
        if not self.crop_size:
            return channels, height, width
        if min(height, width) < self.crop_size:
            raise self._error(f"{what} of {height}x{width} is smaller than crop_size {self.crop_size}")
        return channels, self.crop_size, self.crop_size

    def choose(self, height: int, width: int) -> tuple[slice, slice, bool]:
        """Rows, columns and whether to mirror, for an image of this size (random where Caffe draws)."""
        mirror = self._mirror and self._draw(2) == 1
        return self._span(height), self._span(width), mirror

    def apply(self, image: np.ndarray, rows: slice, columns: slice, mirror: bool, what: str) -> np.ndarray:
        """Crop, subtract the mean, scale and mirror; float32 (C, H, W)."""
        out = image[:, rows, columns].astype(np.float32)
        if self._mean_image is not None:
            if self._mean_image.shape != image.shape:
                raise self._error(
                    f"{what} has shape {image.shape} and the mean image {self._mean_file} has "
                    f"{self._mean_image.shape}; the mean must have the size before cropping"
                )
            out -= self._mean_image[:, rows, columns]
        elif len(self._mean_values):
            out -= self.channel_means(len(image))[:, None, None]
        if self._scale != 1:
            out *= self._scale
        return out[:, :, ::-1] if mirror else out

    def __call__(self, image: np.ndarray, what: str) -> np.ndarray:
        """The transformed image, float32, of the shape that ``output_shape`` says."""
        self.output_shape(image, what)
        return self.apply(image, *self.choose(*image.shape[1:]), what)

    def _span(self, size: int) -> slice:
        if not self.crop_size:
            return slice(0, size)
        slack = size - self.crop_size
        offset = self._draw(slack + 1) if self._random_crop else slack // 2
        return slice(offset, offset + self.crop_size)

    def _draw(self, bound: int) -> int:
        assert self._rng is not None
        return int(self._rng.integers(bound))

    def channel_means(self, channels: int) -> np.ndarray:
        """``mean_value`` as one float32 a channel (zeros if none was given)."""
        count = len(self._mean_values)
        if count not in (0, 1, channels):
            raise self._error(f"mean_value must be given once or {channels} times (channels), found {count}")
        return np.broadcast_to(self._mean_values if count else np.zeros(1, np.float32), (channels,))


def read_image(path: str, new_height: int, new_width: int, color: bool) -> np.ndarray:
    """An image file as Caffe reads it: uint8 (C, H, W), BGR or grey, resized. DataError if unreadable."""
    try:
        content = read_regular(path, MAX_IMAGE_BYTES)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    image = decode_image(content, cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE, path)
    if new_height and new_width:
        try:
            image = cv2.resize(image, (new_width, new_height))
        except cv2.error:
            raise DataError(f"{path}: cannot be resized to {new_height} x {new_width}") from None
    return planes(image)


def decode_image(content: bytes, flag: int, what: str) -> np.ndarray:
    """An image file's content as OpenCV decodes it, after a look at its header. DataError if it does not."""
    with opened_stream(io.BytesIO(content), what):  # OpenCV opens every format that it knows, of any size
        pass
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{what}: not an image that OpenCV can read")
    return image


def planes(image: np.ndarray) -> np.ndarray:
    """OpenCV's (H, W) or (H, W, C) as a view of shape (C, H, W)."""
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
