"""Image files that are built to take minutes: refused by their structure, before a decoder sees them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.images.reading import image_size, read_image
from caffe_gp.images.structure import check_structure

pytestmark = pytest.mark.engine


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks, pixels=b"\0" * 20):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
    parts = [head, *chunks, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(**options):
    buffer = io.BytesIO()
    pixels = np.random.RandomState(0).randint(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def segment(marker, data):
    return b"\xff" + marker + struct.pack(">H", 2 + len(data)) + data


SCAN = b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\0\0"


@pytest.mark.parametrize(
    "content, message",
    [
        (png(*[chunk(b"tEXt", b"a\0b")] * 2000), "more than 10.. chunks"),
        (png(pixels=np.random.RandomState(0).bytes(100_000)), "compressed bytes for pixels that take"),
        (jpeg(progressive=True)[:-2] + SCAN * 50 + b"\xff\xd9", "more than 40 scans"),
        (b"\xff\xd8" + segment(b"\xfe", b"x") * 700 + jpeg()[2:], "more than 600 segments"),
        (b"\xff\xd8" + segment(b"\xe1", b"Exif\0\0II*\0") * 20 + jpeg()[2:], "20 segments of EXIF"),
        (b"P5 #" + b"a" * 100_000 + b"\n4 4 255\n" + b"\0" * 16, "no header of one"),
        (b"P5 4 4 #" + b"a" * 100_000 + b"\n255\n" + b"\0" * 16, "no header of one"),
    ],
    ids=["chunks", "pixels", "scans", "segments", "exif", "comment", "second comment"],
)
def test_what_takes_minutes(tmp_path, content, message):
    path = tmp_path / "image"
    path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=f"image: not a readable image .*{message}"):
            read(path)


@pytest.mark.parametrize(
    "content",
    [
        png(), jpeg(), jpeg(progressive=True), jpeg(icc_profile=b"\0" * 10_000_000),
        jpeg(exif=b"Exif\0\0II*\0"),
        b"P7\nWIDTH", b"P5\n# made by hand\n4 4\n# and more\n255\n" + b"#" * 16, b"P5 4 4 255\n" + b"#" * 16,
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
    ],
)  # fmt: skip
def test_what_is_left_to_the_decoder(content):
    stream = io.BytesIO(content)
    check_structure(stream)
    assert stream.tell() == 0
