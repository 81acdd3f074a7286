"""Label maps as indexed PNG files: the pixel values are the labels, the palette only decorates.

Label maps are (H, W) integers, ``IGNORE`` where nothing counts. Palettes are (256, 3) uint8 in RGB order.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Union

import numpy as np
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_bytes

PathLike = Union[str, Path]
IGNORE = 255  # the label of pixels that do not count: void, unlabelled, padding


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
    Accepts indexed and grey 8-bit pictures. Raises DataError for a missing or damaged file, for a picture in
    colours (labels decoded as RGB give nonsense scores silently) and for values out of range.
    """
    try:
        with Image.open(str(path)) as picture:
            mode = picture.mode
            labels = np.array(picture) if mode in ("P", "L", "1") else None
    except FileNotFoundError:
        raise DataError(f"{path}: no such label map") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable picture ({error})") from None
    if labels is None:
        raise DataError(
            f"{path}: expected label indices (PNG mode P or L), found mode {mode}: these look like palette "
            "colours. Use the original indexed PNG, or map colours back to indices first"
        )
    labels = labels.astype(np.uint8)
    if classes is not None:
        found = np.unique(labels)
        wrong = found[(found >= classes) & (found != IGNORE)]
        if wrong.size:
            raise DataError(
                f"{path}: labels must be 0..{classes - 1} or {IGNORE}, found {wrong[:8].tolist()}: "
                "another data set's labels, or colours saved as grey"
            )
    return labels


def full_palette(palette: np.ndarray | None) -> np.ndarray:
    """A palette filled up to 256 colours with VOC's."""
    full = voc_palette()
    if palette is not None:
        given = np.asarray(palette)
        if given.ndim != 2 or given.shape[1] != 3 or len(given) > 256:
            raise DataError(f"a palette has the shape (at most 256, 3), found {given.shape}")
        full[: len(given)] = given
    return full
