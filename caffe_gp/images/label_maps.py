"""Label maps as indexed PNG files: the pixel values are the labels, the palette only decorates.

Label maps are (H, W) integers, ``IGNORE`` where nothing counts. Palettes are (256, 3) uint8 in RGB order.
"""

from __future__ import annotations

import io
from typing import Any, Sequence

import numpy as np
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_bytes
from caffe_gp.images.reading import PathLike, ends_well, image_size, opened, stored_size

IGNORE = 255  # the label of pixels that do not count: void, unlabelled, padding

# Pillow's modes of pictures whose pixels are single numbers.
_INDICES = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")


def voc_palette() -> np.ndarray:
    """The palette of the VOC label PNGs, (256, 3) uint8 RGB.

    The devkit's rule: the three lowest bits of the label become the highest bits of red, green and blue,
    the next three the second highest, and so on. Label 0 is black, 255 is (224, 224, 192).
    """
    label = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            bit = (label >> (3 * place + channel)) & 1
            palette[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return palette


def save_label_png(path: PathLike, labels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Write a label map as an indexed PNG (Pillow's mode P): pixel values are labels, colours only decorate.

    labels   (H, W) integers in 0..255
    palette  up to (256, 3) uint8 RGB; default: VOC's
    The file appears under its name only when it is complete. Raises DataError for values that do not fit.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not labels.size:
        raise DataError(f"{path}: a label map has two dimensions (H, W), found shape {labels.shape}")
    if labels.dtype.kind not in "iub" or int(labels.min()) < 0 or int(labels.max()) > 255:
        found = f"{labels.dtype} in {labels.min()}..{labels.max()}"
        raise DataError(f"{path}: labels must be integers in 0..255, found {found}")
    picture = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
    picture.putpalette(full_palette(palette).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=False)
    write_bytes(path, buffer.getvalue())


def read_label_png(path: PathLike, classes: int | None = None) -> np.ndarray:
    """Read a label map as indices, (H, W) uint8.

    classes  number of classes; then every value must lie in 0..classes-1 or be 255 (ignored)
    Accepts indexed and grey pictures. Raises DataError for a missing or damaged file, for a picture in
    colours (labels decoded as RGB give nonsense scores silently) and for values out of range.
    """
    with opened(path, "label map") as picture:
        _check_mode(path, picture)
        picture.load()  # numpy 1.19 hides its errors
        labels = np.asarray(picture)
    if labels.dtype.itemsize > 1 and labels.size and not 0 <= labels.min() <= labels.max() <= 255:
        raise DataError(f"{path}: labels are 0..255, found {labels.min()}..{labels.max()}")
    labels = labels.astype(np.uint8)
    if classes is not None:
        found = np.flatnonzero(np.bincount(labels.ravel()))
        wrong = found[(found >= classes) & (found != IGNORE)]
        if wrong.size:
            raise DataError(
                f"{path}: labels must be 0..{classes - 1} or {IGNORE}, found {wrong[:8].tolist()}: "
                "another data set's labels, or colours saved as grey"
            )
    return labels


def check_label_png(path: PathLike, image: PathLike) -> None:
    """DataError if a label map is in colours, cut off, or not as large as its image; by headers."""
    with opened(path, "label map") as picture:
        _check_mode(path, picture)
        check_label_size(path, picture.size, image)
        if not ends_well(path):
            picture.load()


def check_label_size(path: PathLike, size: Sequence[int], image: PathLike) -> None:
    """DataError unless labels of ``size`` (width, height) are as large as an image file is shown."""
    width, height = image_size(image)
    if tuple(size) == (width, height):
        return
    message = f"{path}: labels of {size[0]} x {size[1]} for an image of {width} x {height}"
    with opened(image) as picture:
        if stored_size(picture) == tuple(size):
            message += (
                f", as its EXIF orientation shows it ({size[0]} x {size[1]} is how {image} is stored): label "
                "maps are of the image as shown. Turn the label map, or remove the orientation from the image"
            )
    raise DataError(message)


def _check_mode(path: PathLike, picture: Any) -> None:
    """DataError unless a picture's pixels are numbers, and those that were saved."""
    if picture.format in ("JPEG", "MPO"):
        raise DataError(
            f"{path}: a JPEG file, whose values are not those that were saved: label maps are PNG files"
        )
    if picture.mode not in _INDICES:
        raise DataError(
            f"{path}: expected label indices (PNG mode P or L), found mode {picture.mode}: these look like "
            "palette colours. Use the original indexed PNG, or map colours back to indices first "
            "(docs/data.md shows how for VOC's)"
        )


def full_palette(palette: np.ndarray | None) -> np.ndarray:
    """A palette filled up to 256 colours with VOC's."""
    full = voc_palette()
    if palette is not None:
        given = np.asarray(palette)
        if given.ndim != 2 or given.shape[1] != 3 or len(given) > 256:
            raise DataError(f"a palette has the shape (at most 256, 3), found {given.shape}")
        full[: len(given)] = given
    return full
