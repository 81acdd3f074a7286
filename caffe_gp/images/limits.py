"""What may be read of one image, known from its header before a pixel is decoded."""

from __future__ import annotations

import os
from typing import Any

from caffe_gp.errors import DataError, UsageError

PIXELS_VARIABLE = "CAFFE_GP_MAX_PIXELS"
# Given to Pillow, which otherwise tries every format that it has: EPS starts Ghostscript, others are rarely
# tested. A JPEG with a preview behind it (MPO) is opened as a JPEG.
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP", "GIF")
# The largest cameras have this many; as RGB they are 300 MB.
MAX_PIXELS = 100_000_000
# Images of more than this (4096 x 4096, 50 MB as RGB) may not hold too many pixels a byte: photographs have
# fewer than 20, and a file of 70 bytes can claim any size. Label maps may up to twice that: large areas take
# no space, and reading takes up to 6 bytes a pixel.
SUSPECT_PIXELS = 1 << 24
SUSPECT_LABELS = 1 << 25
PIXELS_A_BYTE = 200
# What reading takes for a pixel, as the decoded picture and as RGB, 4 each at most. Pillow's decoder of WebP
# keeps three pictures more, so that its pixels count so many times more towards the limits of suspects.
BYTES_A_PIXEL, WEBP_BYTES_A_PIXEL = 8, 20
# And for each row or column above the most that a JPEG has: both pictures hold a pointer to every row, which
# columns become where a picture is turned.
LONG_SIDE, BYTES_A_ROW = 65_535, 32
MAX_IMAGE_BYTES = 1 << 30  # of a file: MAX_PIXELS of 16-bit RGB in a TIFF without compression are 0.6 GB


def check_pixels(path: object, picture: Any, pixel_bytes: int, what: str = "image") -> None:
    """DataError for an opened picture that is too large, or for so few bytes of pixels in its file.

    With CAFFE_GP_MAX_PIXELS (``--max-pixels``) that is the only limit. Its errors: UsageError.
    """
    size, limit = picture.size, _given_limit()
    pixels = size[0] * size[1]
    most = MAX_PIXELS if limit is None else limit
    if pixels > most:
        raise DataError(
            f"{path}: more than {most} pixels ({size[0]} x {size[1]}), the most that is read of one {what}. "
            f"Cut it into tiles, or raise the limit with --max-pixels (or {PIXELS_VARIABLE}): --resize reads "
            "the whole image first"
        )
    suspect = SUSPECT_PIXELS if what == "image" else SUSPECT_LABELS
    taken = WEBP_BYTES_A_PIXEL if picture.format == "WEBP" else BYTES_A_PIXEL
    taken = pixels * taken + max(0, max(size) - LONG_SIDE) * BYTES_A_ROW
    if limit is None and taken > max(suspect, PIXELS_A_BYTE * pixel_bytes) * BYTES_A_PIXEL:
        like = "as no photograph has" if what == "image" else "as hardly any label map has"
        raise DataError(
            f"{path}: {size[0]} x {size[1]} pixels stored in {pixel_bytes} bytes, {like}. If "
            f"it is to be read all the same: --max-pixels {pixels} (or {PIXELS_VARIABLE}={pixels})"
        )


def _given_limit() -> int | None:
    text = os.environ.get(PIXELS_VARIABLE, "")
    if text and not (text.isascii() and text.isdigit() and int(text[:20]) > 0):
        raise UsageError(f"{PIXELS_VARIABLE}: expected a number of pixels, found '{text[:20]}'")
    return int(text) if text else None
