"""Image files that are built to take minutes: refused by their structure, before a decoder sees them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from caffe_gp.errors import DataError
from caffe_gp.images import limits
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
        (b"P3 400 400 255\n" + b"1 " * 600_000, "a plain PNM, numbers in text, of 1200015 bytes"),
        (b"P3 4 4 255\n" + b"#\n" * 2000 + b"1 " * 48, "a plain PNM with 2000 comments"),
        (b"P5 #" + b"a" * 100_000 + b"\n4 4 255\n" + b"\0" * 16, "no header of one"),
        (b"P5 4 4 #" + b"a" * 100_000 + b"\n255\n" + b"\0" * 16, "no header of one"),
    ],
    ids=["chunks", "pixels", "scans", "segments", "exif", "plain", "comments", "comment", "second comment"],
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
    assert check_structure(stream) <= len(content)
    assert stream.tell() == 0


def webp(*chunks):
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_what_is_beside_the_pixels_does_not_count():
    stored = len(zlib.compress(b"\0" * 20))
    assert check_structure(io.BytesIO(png(chunk(b"prVt", b"x" * 5000)))) == stored
    assert check_structure(io.BytesIO(webp((b"JUNK", b"x" * 5000), (b"VP8L", b"y" * 50)))) == 50
    assert check_structure(io.BytesIO(jpeg())) == len(jpeg())


@pytest.mark.parametrize("junk", [0, 10_000])
def test_few_bytes_for_many_pixels(tmp_path, monkeypatch, junk):
    monkeypatch.setattr(limits, "SUSPECT_PIXELS", 500)
    path = tmp_path / "a.png"
    Image.new("RGBA", (300, 300)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunk(b"prVt", b"x" * junk) + content[33:])
    monkeypatch.setattr(limits, "PIXELS_A_BYTE", 10)
    with pytest.raises(DataError, match="300 x 300 pixels stored in .* bytes, as no photograph has"):
        read_image(path)


@pytest.mark.parametrize("size, opens", [((1, 65_535), True), ((1, 66_000), False), ((66_000, 1), False)])
def test_a_long_side_counts_for_more(tmp_path, monkeypatch, size, opens):
    """Pillow has a pointer to every row, and more of them than pixels are refused."""
    monkeypatch.setattr(limits, "SUSPECT_PIXELS", 66_001)
    monkeypatch.setattr(limits, "PIXELS_A_BYTE", 0)
    path = tmp_path / "image.png"
    Image.new("L", size).save(path)
    if opens:
        assert read_image(path).size == size
    else:
        with pytest.raises(DataError, match="as no photograph has"):
            read_image(path)


@pytest.mark.parametrize("kind, opens", [("PNG", True), ("WEBP", False)])
def test_a_webp_counts_for_more(tmp_path, monkeypatch, kind, opens):
    if not features.check("webp"):
        pytest.skip("Pillow without WebP")
    monkeypatch.setattr(limits, "SUSPECT_PIXELS", 90_000)
    monkeypatch.setattr(limits, "PIXELS_A_BYTE", 0)
    path = tmp_path / "image"
    Image.new("RGB", (300, 300)).save(path, kind)
    if opens:
        assert read_image(path).size == (300, 300)
    else:
        with pytest.raises(DataError, match="as no photograph has"):
            read_image(path)
