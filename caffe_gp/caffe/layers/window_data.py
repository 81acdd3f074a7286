"""WindowData: windows of images, as R-CNN trained on them."""

from __future__ import annotations

import math
import os
import warnings
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from caffe_gp import proto
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.batches import BatchLayer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.caffe.transformer import DataTransformer, new_rng, read_image
from caffe_gp.errors import DataError, quoted


class _Windows:
    """Rows of image number, line number, label, x1, y1, x2, y2 (both ends inside); lists have millions."""

    def __init__(self) -> None:
        self._numbers = array("i")

    def __len__(self) -> int:
        return len(self._numbers) // 7

    def append(self, image: int, line: int, label: int, *box: int) -> None:
        """Add a row."""
        self._numbers.extend((image, line, label, *box))

    def __getitem__(self, index: int) -> tuple[int, int, int, tuple[int, ...]]:
        image, line, label, *box = self._numbers[7 * index : 7 * index + 7]
        return image, line, label, tuple(box)


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
        self._cache: dict[int, np.ndarray] = {}
        self._paths: list[str] = []
        self._foreground, self._background = _Windows(), _Windows()
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
        mean: Any = proto.read_blob(transform.mean_file)
        mean = mean.reshape(mean.shape[-3:])
        offset = (mean.shape[2] - self.crop_size) // 2  # of the width, for rows too, as in Caffe
        mean = mean[:, max(offset, 0) :, max(offset, 0) :][:, : self.crop_size, : self.crop_size]
        if offset < 0 or mean.shape != (self._channels, self.crop_size, self.crop_size):
            raise self.data_error(
                f"the mean image {transform.mean_file} is smaller than crop_size {self.crop_size}"
            )
        return mean

    def _read_windows(self) -> None:
        words = ((n, word) for n, line in self.read_lines(self.param.source) for word in line.split())
        for line, word in words:
            if word != "#":
                raise self._line_error(line, f"expected '# image_index', found {quoted(word)}")
            self._take(words, line, "image index", int)
            line, path = self._take(words, line, "image path", str)
            self._paths.append(self.param.root_folder + path)
            line, self._channels = self._take(words, line, "channels", int)
            for what in ("height", "width"):
                line, _ = self._take(words, line, what, int)
            line, num_windows = self._take(words, line, "number of windows", int)
            for _ in range(num_windows):
                line = self._read_window(words, line)
        if self._channels != 3:
            raise self.data_error(f"{self.param.source}: images have 3 channels, found {self._channels}")

    def _read_window(self, words: Iterator[tuple[int, str]], line: int) -> int:
        line, label = self._take(words, line, "class index", int)
        _, overlap = self._take(words, line, "overlap", float)
        box = [self._take(words, line, name, int)[1] for name in ("x1", "y1", "x2", "y2")]
        image = len(self._paths) - 1
        if overlap >= self.param.fg_threshold:
            if label < 1:
                raise self._line_error(line, f"a foreground window (overlap {overlap}) has class {label}")
            self._foreground.append(image, line, label, *box)
        elif overlap < self.param.bg_threshold:
            self._background.append(image, line, 0, *box)
        return line

    def _take(self, words: Iterator[tuple[int, str]], line: int, what: str, kind: Any) -> tuple[int, Any]:
        line, word = next(words, (line, ""))
        try:
            return line, kind(word)
        except ValueError:
            found = quoted(word) if word else "the end of the file"
            raise self._line_error(line, f"expected {what}, found {found}") from None

    def _line_error(self, line: int, message: str) -> DataError:
        return self.data_error(f"{self.param.source}:{line}: {message}")

    def load_batch(self) -> list[np.ndarray]:
        """Draw, cut, warp and mirror the windows of one batch."""
        data = np.zeros((self.batch_size, self._channels, self.crop_size, self.crop_size), np.float32)
        labels = np.zeros(self.batch_size, np.float32)
        i = 0
        for _, windows, count in self._samples:
            for _ in range(count):
                image, line, labels[i], box = windows[int(self._rng.integers(len(windows)))]
                mirror = bool(self.layer_param.transform_param.mirror and self._rng.integers(2))
                self._warp(image, line, box, mirror, data[i])
                i += 1
        return [data, labels]

    def _image(self, number: int, line: int) -> np.ndarray:
        image = self._cache.get(number)
        if image is None:
            path = self._paths[number]
            if "\0" in path or not os.path.exists(path):
                raise self._line_error(
                    line, f"could not load {quoted(os.path.basename(path))}: there is no such file"
                )
            try:
                image = read_image(path, 0, 0, color=True).transpose(1, 2, 0)
            except DataError as error:
                raise self._line_error(line, f"could not load {error}") from None
            if self.param.cache_images:
                self._cache[number] = image
        return image

    def _warp(self, number: int, line: int, box: tuple[int, ...], mirror: bool, out: np.ndarray) -> None:
        """Write the window into ``out`` (C, crop, crop), which is all zeros."""
        image = self._image(number, line)
        crop, (x1, y1, x2, y2) = self.crop_size, box
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
            height, width = image.shape[:2]
            raise self._line_error(
                line, f"the window {box} does not lie in {self._paths[number]} of {height}x{width}"
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


def _round(value: Any) -> int:
    """Halves away from zero, as C's ``round``."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
