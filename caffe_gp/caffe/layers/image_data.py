"""Layers that read image files named in a list: ImageData, and DeepLab's ImageSegData."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe_gp.caffe import memory
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.batches import BatchLayer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.caffe.transformer import DataTransformer, new_rng, read_image
from caffe_gp.errors import DataError, quoted
from caffe_gp.proto import messages as pb


class ListedImages(BatchLayer):
    """A list of images with something beside each, taken in order or shuffled, again and again.

    field   of the layer's parameters
    """

    field = "image_data_param"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the list, and one batch's shapes from its first image."""
        self.param = getattr(self.layer_param, self.field)
        if bool(self.param.new_height) != bool(self.param.new_width):
            raise self.error(
                "new_height and new_width must be set together, found "
                f"{self.param.new_height} and {self.param.new_width}"
            )
        self.batch_size = self.check_batch_size(self.param.batch_size)
        size = self.param.new_height, self.param.new_width
        channels = 3 if self.param.is_color else 1
        memory.need(memory.BYTES * channels * size[0] * size[1], f"an image resized to {size[0]} x {size[1]}")
        lines = self.read_lines(self.param.source)
        self._entries = [(number, *self.entry(number, line)) for number, line in lines]
        self._next = 0
        self._rng = new_rng() if self.draws else None
        if self._rng is not None and self.param.shuffle:
            self._rng.shuffle(self._entries)
        if self._rng is not None and self.param.rand_skip:
            self._next = int(self._rng.integers(self.param.rand_skip))
            if self._next >= len(self._entries):
                raise self.error(
                    f"rand_skip: {self._next} images to skip, {self.param.source} lists {len(self._entries)}"
                )
        self.transformer = DataTransformer(self.layer_param.transform_param, self.phase, self.data_error)
        self.shape_tops(top)

    @property
    def draws(self) -> bool:
        """Whether anything is left to chance."""
        return bool(self.param.shuffle or self.param.rand_skip)

    def entry(self, number: int, line: str) -> tuple[str, Any]:
        """(image path, what stands beside it) of a line."""
        raise NotImplementedError

    def shape_tops(self, top: Sequence[Blob]) -> None:
        """Give the tops the shapes of the first batch."""
        raise NotImplementedError

    def first_image(self) -> tuple[np.ndarray, str]:
        """The image that comes next and its name for messages, without taking it."""
        number, path, _ = self._entries[self._next]
        return self.image(number, path, self.param.is_color), path

    def take(self) -> tuple[int, str, Any]:
        """Line number, path and what stands beside it; after the last the list starts over, reshuffled."""
        entry = self._entries[self._next]
        self._next += 1
        if self._next == len(self._entries):
            self._next = 0
            if self._rng is not None and self.param.shuffle:
                self._rng.shuffle(self._entries)
        return entry

    def line_error(self, number: int, message: str) -> DataError:
        """A DataError that names the line of the list."""
        return self.data_error(f"{self.param.source}:{number}: {message}")

    def check_exists(self, number: int, path: str) -> None:
        """DataError unless there is a file ``root_folder + path``."""
        full = self.param.root_folder + path
        if "\0" in full or not os.path.exists(full):
            raise self.line_error(number, f"could not load {quoted(path)}: there is no such file")

    def image(self, number: int, path: str, color: bool) -> np.ndarray:
        """The image file ``root_folder + path`` as uint8 (C, H, W)."""
        self.check_exists(number, path)
        try:
            return read_image(
                self.param.root_folder + path, self.param.new_height, self.param.new_width, color
            )
        except DataError as error:
            raise self.line_error(number, f"could not load {error}") from None


@register("ImageData")
class ImageDataLayer(ListedImages):
    """Images and integer labels from lines ``path label``.

    Tops: data (batch, C, H, W), BGR 0..255 before ``transform_param``; label (batch,).
    """

    exact_num_top = 2

    def entry(self, number: int, line: str) -> tuple[str, int]:
        """Split at the last space, so that paths may contain spaces."""
        path, _, label = line.rstrip().rpartition(" ")
        try:
            return path.rstrip(), int(label)
        except ValueError:
            raise self.line_error(
                number, f"expected 'path label' with an integer label, found {quoted(line)}"
            ) from None

    def shape_tops(self, top: Sequence[Blob]) -> None:
        """Data like the first image, labels one an image."""
        top[0].reshape(self.batch_size, *self.transformer.output_shape(*self.first_image()))
        top[1].reshape(self.batch_size)

    def load_batch(self) -> list[np.ndarray]:
        """Images of the size of the batch's first; DataError for one of another size."""
        labels = np.zeros(self.batch_size, np.float32)
        data: np.ndarray | None = None
        for i in range(self.batch_size):
            number, path, labels[i] = self.take()
            image = self.transformer(self.image(number, path, self.param.is_color), path)
            if data is None:
                data = np.empty((self.batch_size, *image.shape), np.float32)
            if image.shape != data.shape[1:]:
                raise self.line_error(
                    number,
                    f"{path} has shape {image.shape}, the first image of its batch {data.shape[1:]}; "
                    "set new_height and new_width, crop_size, or batch_size 1",
                )
            data[i] = image
        assert data is not None
        return [data, labels]


@register("ImageSegData")
class ImageSegDataLayer(ListedImages):
    """DeepLab's images with label maps, from lines ``image [labels]``.

    Tops: data (batch, C, crop, crop); label (batch, 1, crop, crop); data_dim (batch, 1, 1, 2), the height
    and width of the image inside the crop. Images smaller than the crop are padded right and below with the
    mean (so with 0 after subtraction), label maps with ``ignore_label``. ``label_type`` PIXEL reads label
    images, IMAGE takes one integer for all pixels, NONE gives ``ignore_label`` everywhere.
    """

    exact_num_top = 3

    def entry(self, number: int, line: str) -> tuple[str, Any]:
        """Split at blanks; the second word is needed unless label_type is NONE."""
        words = line.split()
        kind = self.param.label_type
        if kind == pb.ImageDataParameter.NONE:
            return words[0], None
        if len(words) < 2:
            raise self.line_error(
                number, f"expected 'image label', found {quoted(line)}; or set label_type: NONE"
            )
        if kind == pb.ImageDataParameter.PIXEL:
            return words[0], words[1]
        try:
            return words[0], int(words[1])
        except ValueError:
            raise self.line_error(
                number,
                f"label_type IMAGE expects an integer label, found {quoted(words[1])}; "
                "label images need label_type: PIXEL",
            ) from None

    def shape_tops(self, top: Sequence[Blob]) -> None:
        """Crop-sized tops, or tops of the first image's size without a crop."""
        transform = self.layer_param.transform_param
        if transform.mean_file:
            raise self.error("ImageSegData takes mean_value, not mean_file")
        image, _ = self.first_image()
        crop = self.transformer.crop_size
        self._size = (crop, crop) if crop else image.shape[1:]
        top[0].reshape(self.batch_size, len(image), *self._size)
        top[1].reshape(self.batch_size, 1, *self._size)
        top[2].reshape(self.batch_size, 1, 1, 2)

    def load_batch(self) -> list[np.ndarray]:
        """Padded, cropped and mirrored images and label maps."""
        channels = 3 if self.param.is_color else 1
        data = np.empty((self.batch_size, channels, *self._size), np.float32)
        labels = np.empty((self.batch_size, 1, *self._size), np.float32)
        sizes = np.empty((self.batch_size, 1, 1, 2), np.float32)
        for i in range(self.batch_size):
            number, path, beside = self.take()
            image = self.image(number, path, self.param.is_color)
            label = self._labels(number, path, beside, image.shape[1:])
            sizes[i, 0, 0] = np.minimum(image.shape[1:], self._size)
            if self.transformer.crop_size:
                image, label = self._padded(image), self._padded_labels(label)
            elif image.shape[1:] != self._size:
                raise self.line_error(
                    number, f"{path} has size {image.shape[1:]}, the first image {self._size}; set crop_size"
                )
            rows, columns, mirror = self.transformer.choose(*image.shape[1:])
            data[i] = self.transformer.apply(image, rows, columns, mirror, path)
            cropped = label[rows, columns]
            labels[i, 0] = cropped[:, ::-1] if mirror else cropped
        return [data, labels, sizes]

    def _labels(self, number: int, path: str, beside: Any, size: tuple[int, ...]) -> np.ndarray:
        if not isinstance(beside, str):
            value = self.param.ignore_label if beside is None else beside
            return np.full(size, value, np.uint8)
        labels = self.image(number, beside, color=False)[0]
        if labels.shape != size:
            raise self.line_error(number, f"{path} has size {size}, its label map {beside} {labels.shape}")
        return labels

    def _padded(self, image: np.ndarray) -> np.ndarray:
        channels, height, width = image.shape
        size = (channels, max(height, self._size[0]), max(width, self._size[1]))
        if size == image.shape:
            return image
        padded = np.empty(size, np.float32)
        padded[:] = self.transformer.channel_means(channels)[:, None, None]
        padded[:, :height, :width] = image
        return padded

    def _padded_labels(self, labels: np.ndarray) -> np.ndarray:
        height, width = labels.shape
        padding = ((0, max(0, self._size[0] - height)), (0, max(0, self._size[1] - width)))
        return np.pad(labels, padding, constant_values=self.param.ignore_label)
