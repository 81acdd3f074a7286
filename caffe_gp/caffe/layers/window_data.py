"""WindowData: windows of images, as R-CNN trained on them."""
from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from caffe_gp import proto
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.batches import BatchLayer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.caffe.transformer import DataTransformer, new_rng


class _Window(NamedTuple):
    where: str  # file:line
    image: str
    label: int
    box: tuple[int, int, int, int]  # x1, y1, x2, y2, both ends inside


@register("WindowData")
class WindowDataLayer(BatchLayer):
    """Windows drawn at random, warped to ``crop_size``: background ones first, then ``fg_fraction`` objects.

    ``source`` holds for every image ``# index``, path, channels, height, width, number of windows, and a
    line ``class overlap x1 y1 x2 y2`` for each. Overlap >= fg_threshold makes a window foreground, overlap
    < bg_threshold background (label 0), between them unused. ``context_pad`` widens the window so that the
    warped one has that border; what lies outside the image is 0. ``crop_mode: "square"`` takes the
    tightest square around the window.

    Tops: data (batch, C, crop, crop), BGR less the mean; label (batch,). As in BVLC Caffe the scale of
    ``transform_param`` is not applied (a warning says so).
    """

    exact_num_top = 2

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the window file and shape the tops. DataError for a file that is not one."""
        self.param = self.layer_param.window_data_param
        transform = self.layer_param.transform_param
        self.batch_size = self.check_batch_size(self.param.batch_size)
        self.crop_size = transform.crop_size
        if not self.crop_size:
            raise self.error("transform_param.crop_size must be set; windows are warped to it")
        if self.crop_size <= 2 * self.param.context_pad:
            raise self.error(
                f"context_pad {self.param.context_pad} leaves nothing of crop_size {self.crop_size}"
            )
        if transform.scale != 1:
            message = f"layer '{self.name}': WindowData, as in BVLC Caffe, ignores scale {transform.scale}"
            warnings.warn(message, stacklevel=2)
        self._images: dict[str, np.ndarray] = {}
        self._foreground: list[_Window] = []
        self._background: list[_Window] = []
        self._channels = 3
        self._read_windows()
        num_foreground = int(np.float32(self.batch_size) * np.float32(self.param.fg_fraction))
        self._samples = (
            ("background", self._background, self.batch_size - num_foreground),
            ("foreground", self._foreground, num_foreground),
        )
        for kind, windows, count in self._samples:
            if count and not windows:
                raise self.data_error(f"{self.param.source} has no {kind} window, a batch needs {count}")
        self._rng = new_rng()
        self._mean = self._read_mean(transform)
        top[0].reshape(self.batch_size, self._channels, self.crop_size, self.crop_size)
        top[1].reshape(self.batch_size)

    def _read_mean(self, transform: Any) -> np.ndarray:
        """What is subtracted, broadcastable to (C, crop, crop): the middle of the mean image, or values."""
        if not transform.mean_file:
            transformer = DataTransformer(transform, self.phase, self.data_error)
            return transformer.channel_means(self._channels)[:, None, None]
        if transform.mean_value:
            raise self.error("transform_param cannot have both mean_file and mean_value")
        mean = proto.read_blob(transform.mean_file)
        mean = mean.reshape(mean.shape[-3:])
        offset = (mean.shape[2] - self.crop_size) // 2  # of the width, for rows too, as in Caffe
        mean = mean[:, max(offset, 0) :, max(offset, 0) :][:, : self.crop_size, : self.crop_size]
        if offset < 0 or mean.shape != (self._channels, self.crop_size, self.crop_size):
            raise self.data_error(
                f"the mean image {transform.mean_file} is smaller than crop_size {self.crop_size}"
            )
        return mean

    def _read_windows(self) -> None:
        words = ((where, word) for where, line in self.read_lines(self.param.source) for word in line.split())
        for where, word in words:
            if word != "#":
                raise self.data_error(f"{where}: expected '# image_index', found {word!r}")
            self._take(words, where, "image index", int)
            _, path = self._take(words, where, "image path", str)
            path = self.param.root_folder + path
            _, self._channels = self._take(words, where, "channels", int)
            self._take(words, where, "height", int)
            self._take(words, where, "width", int)
            _, num_windows = self._take(words, where, "number of windows", int)
            for _ in range(num_windows):
                self._read_window(words, where, path)
        if self._channels != 3:
            raise self.data_error(f"{self.param.source}: images have 3 channels, found {self._channels}")

    def _read_window(self, words: Iterator[tuple[str, str]], where: str, path: str) -> None:
        where, label = self._take(words, where, "class index", int)
        _, overlap = self._take(words, where, "overlap", float)
        x1, y1, x2, y2 = (self._take(words, where, name, int)[1] for name in ("x1", "y1", "x2", "y2"))
        if overlap >= self.param.fg_threshold:
            if label < 1:
                raise self.data_error(f"{where}: a foreground window (overlap {overlap}) has class {label}")
            self._foreground.append(_Window(where, path, label, (x1, y1, x2, y2)))
        elif overlap < self.param.bg_threshold:
            self._background.append(_Window(where, path, 0, (x1, y1, x2, y2)))

    def _take(self, words: Iterator[tuple[str, str]], where: str, what: str, kind: Any) -> tuple[str, Any]:
        where, word = next(words, (where, ""))
        try:
            return where, kind(word)
        except ValueError:
            found = repr(word) if word else "the end of the file"
            raise self.data_error(f"{where}: expected {what}, found {found}") from None

    def load_batch(self) -> list[np.ndarray]:
        """Draw, cut, warp and mirror the windows of one batch."""
        data = np.zeros((self.batch_size, self._channels, self.crop_size, self.crop_size), np.float32)
        labels = np.zeros(self.batch_size, np.float32)
        i = 0
        for _, windows, count in self._samples:
            for _ in range(count):
                window = windows[self._rng.integers(len(windows))]
                mirror = bool(self.layer_param.transform_param.mirror and self._rng.integers(2))
                self._warp(window, mirror, data[i])
                labels[i] = window.label
                i += 1
        return [data, labels]

    def _image(self, window: _Window) -> np.ndarray:
        image = self._images.get(window.image)
        if image is None:
            image = cv2.imread(window.image, cv2.IMREAD_COLOR)
            if image is None:
                raise self.data_error(f"{window.where}: could not load {window.image}")
            if self.param.cache_images:
                self._images[window.image] = image
        return image

    def _warp(self, window: _Window, mirror: bool, out: np.ndarray) -> None:
        """Write the window into ``out`` (C, crop, crop), which is all zeros."""
        image = self._image(window)
        crop, (x1, y1, x2, y2) = self.crop_size, window.box
        warped_height = warped_width = crop
        top = left = 0
        if self.param.context_pad or self.param.crop_mode == "square":
            half_height, half_width = np.float32(y2 - y1 + 1) / 2, np.float32(x2 - x1 + 1) / 2
            center_y, center_x = np.float32(y1) + half_height, np.float32(x1) + half_width
            if self.param.crop_mode == "square":
                half_height = half_width = max(half_height, half_width)
            grow = np.float32(crop) / np.float32(crop - 2 * self.param.context_pad)
            y1, y2, warped_height, top, _ = _extend(center_y, half_height * grow, image.shape[0], crop)
            x1, x2, warped_width, left, right = _extend(center_x, half_width * grow, image.shape[1], crop)
            left = right if mirror else left
            warped_height, warped_width = min(warped_height, crop - top), min(warped_width, crop - left)
        piece = image[max(y1, 0) : y2 + 1, max(x1, 0) : x2 + 1]
        inside = x1 >= 0 and y1 >= 0 and piece.shape[:2] == (y2 - y1 + 1, x2 - x1 + 1)
        if not inside or 0 in piece.shape or min(warped_height, warped_width) < 1:
            raise self.data_error(
                f"{window.where}: the window {window.box} does not lie in {window.image} of "
                f"{image.shape[0]}x{image.shape[1]}"
            )
        warped = cv2.resize(piece, (warped_width, warped_height), interpolation=cv2.INTER_LINEAR)
        if mirror:
            warped = warped[:, ::-1]
        rows, columns = slice(top, top + warped_height), slice(left, left + warped_width)
        mean = np.broadcast_to(self._mean, out.shape)
        out[:, rows, columns] = warped.transpose(2, 0, 1).astype(np.float32) - mean[:, rows, columns]


def _extend(center: np.float32, half: np.float32, size: int, crop: int) -> tuple[int, int, int, int, int]:
    """One axis of a window with context: first and last pixel inside the image, then in warped pixels its
    length and the padding before and after it."""
    first, last = _round(center - half), _round(center + half)
    before, after = max(0, -first), max(0, last - size + 1)
    scale = np.float32(crop) / np.float32(last - first + 1)
    first, last = first + before, last - after
    return first, last, _round((last - first + 1) * scale), _round(before * scale), _round(after * scale)


def _round(value: float) -> int:
    """Halves away from zero, as C's ``round``."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
