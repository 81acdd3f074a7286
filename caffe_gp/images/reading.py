"""Reading image files, with errors that name them."""

from __future__ import annotations

import os
from typing import Any, Tuple

from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.files.kinds import IMAGE, wrong_file

Size = Tuple[int, int]  # width, height

# Of the image files that folders are searched for; of one id's files the first of them counts.
IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")


def read_image(path: str | os.PathLike) -> Any:
    """An image file as Pillow RGB; DataError if it is missing or damaged."""
    try:
        with Image.open(os.fspath(path)) as picture:
            return picture.convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {wrong_file(path, IMAGE) or f'not a readable image ({error})'}") from None


def image_size(path: str | os.PathLike) -> Size:
    """(width, height) of an image file without decoding it; DataError if it is missing or no image."""
    try:
        with Image.open(os.fspath(path)) as picture:
            return picture.size
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {wrong_file(path, IMAGE) or f'not a readable image ({error})'}") from None
