"""DenseImageData: SegNet's and ENet's images with a label map each."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.image_data import ListedImages
from caffe_gp.caffe.layers.registry import register
from caffe_gp.errors import DataError, quoted
from caffe_gp.images.label_maps import read_label_png


@register("DenseImageData")
class DenseImageDataLayer(ListedImages):
    """Images and label maps from lines ``image labels``, each path after ``root_folder``.

    Tops: data (batch, C, H, W), BGR 0..255 before ``transform_param``'s mean and scale; label
    (batch, 1, H, W), the values that the label map stores, an indexed picture's indices too (where the fork
    takes the brightness of their colours). ``new_height`` x ``new_width`` resizes both, labels to the
    nearest; ``crop_height`` x ``crop_width`` is cut out of both at a random place, and ``mirror`` flips both
    or none, in both phases. With a batch of one image and none of these the tops take every image's size.
    """

    exact_num_top = 2
    field = "dense_image_data_param"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the parameters, read the list. NetError for what the fork refuses or is not known here."""
        param, transform = self.layer_param.dense_image_data_param, self.layer_param.transform_param
        if bool(param.crop_height) != bool(param.crop_width):
            raise self.error(
                "crop_height and crop_width must be set together, found "
                f"{param.crop_height} and {param.crop_width}"
            )
        if transform.mirror or transform.crop_size:
            raise self.error(
                "transform_param's mirror and crop_size would miss the labels: give mirror, crop_height and "
                "crop_width in dense_image_data_param"
            )
        if param.mean_file:
            raise self.error("mean_file belongs into transform_param, found one in dense_image_data_param")
        if param.label_divide_factor != 1:
            raise self.error(
                f"label_divide_factor {param.label_divide_factor}, labels smaller than their images, is not "
                "available here; expected 1"
            )
        self._crop = (param.crop_height, param.crop_width)
        super().setup(bottom, top)

    @property
    def draws(self) -> bool:
        """Also places to crop at, and what is mirrored."""
        return super().draws or self.param.mirror or any(self._crop)

    def entry(self, number: int, line: str) -> tuple[str, str]:
        """Two words."""
        words = line.split()
        if len(words) != 2:
            raise self.line_error(
                number, f"expected 'image labels', two paths without blanks, found {quoted(line)}"
            )
        return words[0], words[1]

    def shape_tops(self, top: Sequence[Blob]) -> None:
        """Like the first image, cropped."""
        image, path = self.first_image()
        channels, height, width = image.shape
        self.transformer.output_shape(image, path)
        size = self._crop if any(self._crop) else (height, width)
        if height < size[0] or width < size[1]:
            raise self.data_error(f"{path} of {height}x{width} is smaller than the crop {size[0]}x{size[1]}")
        top[0].reshape(self.batch_size, channels, *size)
        top[1].reshape(self.batch_size, 1, *size)

    def load_batch(self) -> list[np.ndarray]:
        """Images and labels of the size of the batch's first; DataError for one of another size."""
        data: np.ndarray | None = None
        for i in range(self.batch_size):
            number, path, labels_path = self.take()
            image = self.image(number, path, self.param.is_color)
            labels = self._labels(number, labels_path, path, image.shape[1:])
            rows, columns = self._part(number, path, image.shape[1:])
            step = -1 if self.param.mirror and self._draw(2) else 1
            image = self.transformer(image[:, rows, columns][:, :, ::step], path)
            labels = labels[rows, columns][:, ::step]
            if data is None:
                data = np.empty((self.batch_size, *image.shape), np.float32)
                all_labels = np.empty((self.batch_size, 1, *labels.shape), np.float32)
            if image.shape != data.shape[1:]:
                raise self.line_error(
                    number,
                    f"{path} has shape {image.shape}, the first image of its batch {data.shape[1:]}; set "
                    "new_height and new_width, crop_height and crop_width, or batch_size 1",
                )
            data[i], all_labels[i, 0] = image, labels
        assert data is not None
        return [data, all_labels]

    def _labels(self, number: int, path: str, image: str, size: tuple[int, ...]) -> np.ndarray:
        """(H, W) uint8, of the size of the image, resized as that was."""
        self.check_exists(number, path)
        try:
            labels = read_label_png(self.param.root_folder + path)
        except DataError as error:
            raise self.line_error(number, f"could not load {error}") from None
        if self.param.new_height:
            size = (self.param.new_height, self.param.new_width)
            labels = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)
        if labels.shape != size:
            raise self.line_error(number, f"{image} has size {size}, its label map {path} {labels.shape}")
        return labels

    def _part(self, number: int, path: str, size: tuple[int, ...]) -> tuple[slice, slice]:
        if not any(self._crop):
            return slice(None), slice(None)
        if size[0] < self._crop[0] or size[1] < self._crop[1]:
            crop = f"{self._crop[0]}x{self._crop[1]}"
            raise self.line_error(number, f"{path} of {size[0]}x{size[1]} is smaller than the crop {crop}")
        top, left = (self._draw(n - part + 1) for n, part in zip(size, self._crop))
        return slice(top, top + self._crop[0]), slice(left, left + self._crop[1])

    def _draw(self, bound: int) -> int:
        assert self._rng is not None
        return int(self._rng.integers(bound))
