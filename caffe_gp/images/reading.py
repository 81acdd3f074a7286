"""Reading image files as a viewer shows them, with errors that name them."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from contextlib import contextmanager
from typing import Any, BinaryIO, Iterator, Tuple, Union

import numpy as np
from PIL import Image, UnidentifiedImageError

from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.files.kinds import IMAGE, wrong_file
from caffe_gp.files.regular import open_regular
from caffe_gp.images.limits import FORMATS, MAX_IMAGE_BYTES, check_pixels
from caffe_gp.images.structure import check_structure

PathLike = Union[str, "os.PathLike[str]"]
Size = Tuple[int, int]  # width, height

# Of the image files that folders are searched for; of one id's files the first of them counts.
IMAGE_SUFFIXES = (
    ".jpg", ".png", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".gif", ".jfif",
)  # fmt: skip

_ORIENTATION = 0x0112  # the tag of EXIF and TIFF
_WIDTH, _HEIGHT, _BITS, _SUBFILE = 256, 257, 258, 254  # tags of TIFF
_LESS_THAN_A_PAGE = 1 | 4  # of _SUBFILE: a smaller version of another page, or a mask
_SUBFILES = 64  # that are looked at: in a damaged file they may go round in a circle
# What an orientation asks for before the picture is shown; Pillow 8 has no Image.Transpose.
_TURNS = {
    2: Image.FLIP_LEFT_RIGHT,  # type: ignore[attr-defined]
    3: Image.ROTATE_180,  # type: ignore[attr-defined]
    4: Image.FLIP_TOP_BOTTOM,  # type: ignore[attr-defined]
    5: Image.TRANSPOSE,  # type: ignore[attr-defined]
    6: Image.ROTATE_270,  # type: ignore[attr-defined]
    7: Image.TRANSVERSE,  # type: ignore[attr-defined]
    8: Image.ROTATE_90,  # type: ignore[attr-defined]
}
_ENDS = {b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82", b"\xff\xd8": b"\xff\xd9"}  # how whole PNGs and JPEGs end


def read_image(path: PathLike) -> Any:
    """An image file as Pillow RGB, as a viewer shows it.

    Turned as its orientation (EXIF) says; 16-bit pixels scaled to 0..255 by their range; transparent parts
    on white. DataError for missing and damaged files, for 32-bit pixels, which have no range of their own,
    and for files of several pictures.
    """
    with opened(path) as picture:
        _check_kind(picture, path)
        return _as_rgb(_upright(picture), picture)


def read_bgr(path: PathLike) -> np.ndarray:
    """``read_image`` as (H, W, 3) uint8, blue, green, red: as OpenCV and Caffe have images."""
    return np.ascontiguousarray(np.asarray(read_image(path))[:, :, ::-1])


def image_size(path: PathLike) -> Size:
    """(width, height) of an image file as ``read_image`` gives it, without decoding it. Its errors."""
    with opened(path) as picture:
        _check_kind(picture, path)
        width, height = stored_size(picture)
        return (height, width) if _orientation(picture) >= 5 else (width, height)


def check_image(path: PathLike) -> Size:
    """``image_size``, and DataError for a file that was cut off; decoded only if its end looks wrong."""
    size = image_size(path)
    if not ends_well(path):
        read_image(path)
    return size


def ends_well(path: PathLike) -> bool:
    """Whether a file is a PNG or JPEG with its proper end. Files with something behind it do not count."""
    with open_regular(path) as stream:
        head = stream.read(8)
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 8))
        tail = stream.read()
    return any(head.startswith(begin) and tail.endswith(end) for begin, end in _ENDS.items())


# What Pillow raises for damaged files of one format or another.
_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, RuntimeError, MemoryError, LookupError,
    AssertionError, ArithmeticError, AttributeError, struct.error, zlib.error,
)  # fmt: skip


@contextmanager
def opened(path: PathLike, what: str = "image") -> Iterator[Any]:
    """An image file as Pillow opens it; whatever is wrong with it, or too large, is a DataError."""
    try:
        stream = open_regular(path, MAX_IMAGE_BYTES)
    except FileNotFoundError:
        raise missing(path, what) from None
    except OSError as error:
        wrong = wrong_file(path, IMAGE)
        raise DataError(f"{path}: {wrong or f'not a readable {what} ({error.strerror or error})'}") from None
    with stream:
        try:
            with opened_stream(stream, path, what) as picture:
                yield picture
        except _UnreadableError as error:
            wrong = wrong_file(path, IMAGE)
            raise DataError(f"{path}: {wrong}" if wrong else str(error)) from None


@contextmanager
def opened_stream(stream: BinaryIO, path: object, what: str = "image") -> Iterator[Any]:
    """The same of an open file, or of bytes in memory; ``path`` is what messages call it."""
    try:
        with warnings.catch_warnings():  # Pillow's of 89 million pixels; ours is the limit
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            pixel_bytes = check_structure(stream)
            picture = Image.open(stream, formats=FORMATS)
        with picture:
            check_pixels(path, picture, pixel_bytes, what)
            yield picture
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"{path}: more than {limit} pixels, the most that Pillow reads of one {what}. Cut it into tiles"
        ) from None
    except CaffeGPError:  # which is a RuntimeError; what the caller found wrong says so itself
        raise
    except _DAMAGE as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = f"its content is of none of the formats {', '.join(FORMATS)}" if unknown else error
        raise _UnreadableError(f"{path}: not a readable {what} ({reason})") from None


class _UnreadableError(DataError):
    """What is no image, or a damaged one."""


def missing(path: PathLike, what: str) -> DataError:
    """The error for a file that is not there; a link that leads nowhere is called that."""
    if os.path.islink(path):
        return DataError(f"{path}: a broken link: {os.readlink(path)} does not exist")
    return DataError(f"{path}: no such {what}")


def _upright(picture: Any) -> Any:
    """An opened picture, decoded and turned as its orientation says."""
    picture.load()
    # Pillow turns a TIFF itself.
    turn = None if picture.format == "TIFF" else _TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def stored_size(picture: Any) -> Size:
    """(width, height) of an opened picture as it is stored, before any turning."""
    if picture.format == "TIFF":  # newer Pillows have swapped picture.size already
        return picture.tag_v2[_WIDTH], picture.tag_v2[_HEIGHT]
    return picture.size


def _orientation(picture: Any) -> int:
    """1 to 8 as EXIF counts; 1 is upright."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1  # getexif would decode the whole file to look behind the pixels
    # Older Pillows do not show a TIFF's in getexif.
    tags = picture.tag_v2 if picture.format == "TIFF" else picture.getexif()
    found = tags.get(_ORIENTATION, 1)
    return found if found in _TURNS else 1


def _check_kind(picture: Any, path: PathLike) -> None:
    """DataError for pixels and files that nobody could show without asking."""
    if bits_of(picture) == 32:
        kind = "floating-point numbers" if picture.mode == "F" else "whole numbers of 32 bits"
        raise DataError(
            f"{path}: its pixels are {kind}, which have no range that black and white could be taken from: "
            "save it with 8 or 16 bits"
        )
    if _holds_several(picture):
        raise DataError(
            f"{path}: a file of several frames or pages: save the one to use as a file of its own"
        )


def bits_of(picture: Any) -> int:
    """Bits of a pixel's channel, as far as they matter: 8 stands for fewer, too."""
    if picture.mode.startswith("I;16"):
        return picture.tag_v2[_BITS][0] if picture.format == "TIFF" else 16
    if picture.mode == "I" and picture.format in ("PNG", "PPM"):
        return 16  # how older Pillows open 16 bits; of PPM, all do
    return 32 if picture.mode in ("I", "F") else 8


def _has_alpha(picture: Any) -> bool:
    """Whether an opened picture could have transparent parts. La and RGBa are TIFF's, premultiplied."""
    return picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info


def _holds_several(picture: Any) -> bool:
    """Whether a file holds more than one picture. A JPEG's second one (MPO) is a preview."""
    if picture.format != "TIFF":
        return picture.format != "MPO" and getattr(picture, "is_animated", False)
    try:
        for index in range(1, _SUBFILES):
            picture.seek(index)
            if not picture.tag_v2.get(_SUBFILE, 0) & _LESS_THAN_A_PAGE:
                return True
    except EOFError:
        pass
    picture.seek(0)
    return False


def _as_rgb(picture: Any, file: Any) -> Any:
    """The pixels of a loaded picture as RGB; ``file``: the picture as it was opened."""
    bits = bits_of(file)
    if bits <= 8 and not _has_alpha(file):
        return picture.convert("RGB")
    width, height = picture.size
    rgb = Image.new("RGB", picture.size)
    for top in range(0, height, _ROWS):  # by way of float64 or RGBA, several times as large
        band = picture.crop((0, top, width, min(top + _ROWS, height)))
        rgb.paste(_scaled(band, bits) if bits > 8 else _on_white(band), (0, top))
    return rgb


_ROWS = 64  # that are converted at once


def _scaled(picture: Any, bits: int) -> Any:
    """Pixels of so many bits as RGB."""
    values = np.asarray(picture).astype(np.float64) * (255 / ((1 << bits) - 1))
    return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8)).convert("RGB")


def _on_white(picture: Any) -> Any:
    """Pixels with an alpha channel, or a transparent colour, as RGB."""
    if picture.mode == "La":
        picture = picture.convert("LA")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, picture).convert("RGB")
