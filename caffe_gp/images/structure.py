"""What Pillow and OpenCV would spend minutes on, known from how an image file is built, before it is opened.

The limits are far above what programs write, and in proportion to the file.
"""

from __future__ import annotations

import os
import re
import struct
from typing import BinaryIO

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_HEAD = 1 << 16  # bytes of a PPM that its header with all comments ends in

_CHUNKS, _CHUNK_BYTES = 1000, 1000  # so many of a PNG, and one more for so many bytes; 8 kB each is usual
_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")  # the kinds of a WebP's chunks
_MOST_CHANNELS = 8  # bytes of a pixel: 16-bit RGBA
_SLACK = 1 << 16  # of compressed bytes above those of the pixels themselves

_SEGMENTS = 600  # of a JPEG before its pixels: a colour profile may take 255, XMP as many
_EXIF_SEGMENTS = 16  # which Pillow puts together one by one
_SCANS = 40  # that a JPEG's pixels are made of; progressive ones have about 10
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_SOS = 0xDA

# A header's numbers, each behind blanks and comments: 2 of black and white, 3 of others (P7 has words).
_NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+[^\s#]{1,20}"
_PPM = re.compile(rb"P(?:7|[14](?:%b){2}|(?:[2356fF]|[0y]\w{1,4})(?:%b){3})" % (_NUMBER, _NUMBER))
# Plain PNMs, numbers in text, are for examples: Pillow reads 3 MB a second, and far less of comments.
_PLAIN, _PLAIN_BYTES, _PLAIN_COMMENTS = (b"P1", b"P2", b"P3"), 1 << 20, 1000


def check_structure(stream: BinaryIO) -> int:
    """The bytes of a file that its pixels could be in: of a PNG and a WebP, without what is beside them.

    ValueError, saying why, for a file that takes time beyond all proportion; others stay unread.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(12)
    if head.startswith(_PNG):
        size = min(size, _check_png(stream, size))
    elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
        size = min(size, _webp_pixels(stream))
    elif head.startswith(_JPEG):
        _check_jpeg(stream)
    elif head[:1] == b"P":
        _check_ppm(stream, size, plain=head[:2] in _PLAIN)
    stream.seek(0)
    return size


def _check_ppm(stream: BinaryIO, size: int, plain: bool) -> None:
    if plain and size > _PLAIN_BYTES:
        raise ValueError(
            f"a plain PNM, numbers in text, of {size} bytes; at most {_PLAIN_BYTES}: save it as PNG"
        )
    stream.seek(0)
    comments = stream.read().count(b"#") if plain else 0
    if comments > _PLAIN_COMMENTS:
        raise ValueError(f"a plain PNM with {comments} comments; at most {_PLAIN_COMMENTS}")
    stream.seek(0)
    if not _PPM.match(stream.read(12 + _HEAD)):
        raise ValueError(f"begins like a PPM, and has no header of one in its first {_HEAD} bytes")


def _webp_pixels(stream: BinaryIO) -> int:
    """The bytes of a WebP's pixels, as far as its first chunks tell."""
    place, found = 12, 0
    for _ in range(_CHUNKS):
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8:
            break
        kind, length = struct.unpack("<4sI", head)
        found += length if kind in _WEBP_PIXELS else 0
        place += 8 + length + (length & 1)
    return found


def _check_png(stream: BinaryIO, size: int) -> int:
    """The bytes of its pixels."""
    most, place, pixel_bytes, stored = _CHUNKS + size // _CHUNK_BYTES, len(_PNG), 0, 0
    for _ in range(most):
        stream.seek(place)
        head = stream.read(16)
        if len(head) < 8 or head[4:8] == b"IEND":
            break
        length, kind = struct.unpack(">I4s", head[:8])
        if kind == b"IHDR" and len(head) == 16:
            width, height = struct.unpack(">II", head[8:])
            pixel_bytes = (_MOST_CHANNELS * width + 8) * height
        stored += length if kind == b"IDAT" else 0
        place += 12 + length
    else:
        raise ValueError(f"a PNG of {size} bytes in more than {most} chunks")
    if stored > pixel_bytes + _SLACK:
        raise ValueError(f"{stored} compressed bytes for pixels that take {pixel_bytes}")
    return stored


def _check_jpeg(stream: BinaryIO) -> None:
    place, exif = 2, 0
    for _ in range(_SEGMENTS):
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 4 or head[1] == _SOS:
            break
        if head[0] != 0xFF or head[1] in (0xFF, *_WITHOUT_LENGTH):
            place += 2 if head[0] == 0xFF and head[1] != 0xFF else 1  # padding, as decoders skip it
            continue
        exif += head[1] == 0xE1 and head[4:8] == b"Exif"
        place += 2 + struct.unpack(">H", head[2:4])[0]
    else:
        raise ValueError(f"a JPEG of more than {_SEGMENTS} segments before its pixels")
    if exif > _EXIF_SEGMENTS:
        raise ValueError(f"a JPEG with {exif} segments of EXIF")
    if _count(stream, place, b"\xff\xda", _SCANS) > _SCANS:
        raise ValueError(f"a JPEG of more than {_SCANS} scans")


def _count(stream: BinaryIO, place: int, marker: bytes, enough: int) -> int:
    """How often a marker of two bytes is there from a place on, as far as ``enough``."""
    stream.seek(place)
    found, last = 0, b""
    for piece in iter(lambda: stream.read(1 << 20), b""):
        found += (last + piece).count(marker)
        last = piece[-1:]
        if found > enough:
            break
    return found
