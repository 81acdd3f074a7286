"""Abuses by images and label maps."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from attacks.child import LOADS
from attacks.idea import HARM, Attack, Content, written

_READERS = ("image", "pycaffe_image", "labels")


def _image(name: str, idea: str, content: Content, suffix: str = ".png") -> Attack:
    return Attack(name, idea, written(f"{name}{suffix}", content), _READERS, "DataError")


def _loads(name: str, idea: str, content: Content, reader: str = "image") -> Attack:
    """One that may be read, within the bounds."""
    return Attack(name, idea, written(f"{name}.png", content), (reader,), LOADS)


def _png(width: int, height: int, bits: int = 1, colours: int = 0, rows: bytes = b"") -> bytes:
    """A PNG with this header, whatever its rows are."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _packed_zeros(count: int) -> bytes:
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    packed = b"".join(packer.compress(zeros) for _ in range(count >> 20))
    return packed + packer.compress(bytes(count & 0xFFFFF)) + packer.flush()


def _filled(width: int, bits: int = 1, colours: int = 0, channels: int = 1, height: int = 0) -> bytes:
    """A whole PNG, a square unless a height is given: each row is a byte, and the bits of its pixels."""
    height = height or width
    rows = _packed_zeros(height * (1 + (width * bits * channels + 7) // 8))
    return _png(width, height, bits, colours, rows)


def _with_junk() -> bytes:
    """A chunk that nobody reads, behind the header: it makes the file large."""
    content, junk = _filled(10_000, 16), bytes(500_000)
    chunk = struct.pack(">I", len(junk)) + b"prVt" + junk + struct.pack(">I", zlib.crc32(b"prVt" + junk))
    return content[:33] + chunk + content[33:]


def _gif(width: int, height: int) -> bytes:
    return (
        b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
        + b"\x2c" + struct.pack("<HHHH", 0, 0, width, height) + b"\0" + b"\x02\x02\x44\x01\0" + b"\x3b"
    )  # fmt: skip


def _bmp(width: int, height: int) -> bytes:
    header = 65, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", *header) + bytes(11)


def _webp(width: int, height: int) -> bytes:
    """Lossless: a bit field of 14 bits a side, then next to nothing."""
    stream = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(40)
    body = b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream + bytes(len(stream) & 1)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _tiff(width: int, height: int) -> bytes:
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: height, 279: 9}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + bytes(300)


def _eps(folder: Path) -> Path:
    """Ghostscript would run it."""
    program = f"({folder / HARM}) (w) file closefile\nshowpage\n"
    return written("photo.jpg", f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{program}")(folder)


def _link(name: str, target: str) -> Attack:
    def make(folder: Path) -> Path:
        if target == "pipe":
            os.mkfifo(folder / "image.png")
        else:
            (folder / "image.png").symlink_to(target)
        return folder / "image.png"

    return Attack(name, "what is no file", make, _READERS, "DataError")


ATTACKS = [
    _image("png_huge", "177 million pixels in 22 kB", lambda: _filled(13300)),
    _image("png_claims", "4 thousand million pixels in 60 bytes", _png(65535, 65535)),
    _image("png_16_bits", "a 16-bit picture without rows", _png(20000, 4000, 16, 2)),
    _image("png_16_bits_whole", "33 million pixels of 16 bits in 32 kB", lambda: _filled(5792, 16)),
    _image("png_suspect", "90 million pixels in 11 kB", lambda: _filled(9500)),
    _image("gif_claims", "a GIF of 65535 x 65535 in 40 bytes", _gif(65535, 65535), ".gif"),
    _image("gif_20000", "a GIF of 400 million pixels", _gif(20000, 20000), ".gif"),
    _image("bmp_claims", "a BMP of 30000 x 30000 in 65 bytes", _bmp(30000, 30000), ".bmp"),
    _image("webp_claims", "a WebP of 16383 x 16383 in 70 bytes", _webp(16383, 16383), ".webp"),
    _image("tiff_claims", "a TIFF of 60000 x 60000 in 400 bytes", _tiff(60000, 60000), ".tif"),
    _image("tiff_tall", "a TIFF of 15 million rows in 400 bytes", _tiff(1, 15_000_000), ".tif"),
    _image("png_tall", "4 million rows in 8 kB", lambda: _filled(1, height=4_000_000)),
    _image("ppm_claims", "a PPM of 60000 x 60000 in 20 bytes", b"P6 60000 60000 255\n", ".ppm"),
    _loads("png_rgba", "17 million pixels with alpha in 65 kB", lambda: _filled(4096, 8, 6, 4)),
    _loads("png_wide", "rows of 65000", lambda: _filled(65_000, 8, 2, 3, 250), "pycaffe_image"),
    _loads("png_long", "3 million rows in 6 kB", lambda: _filled(1, height=3_000_000)),
    _loads("png_grey_16", "17 million pixels of 16 bits in 33 kB", lambda: _filled(4096, 16)),
    _image("png_junk", "100 million pixels of 16 bits, and 500 kB beside them", _with_junk),
    _image("ppm_plain", "3 million numbers as text", b"P3 1000 1000 255\n" + b"1 " * 3_000_000, ".ppm"),
    _image("ppm_comments", "a million comments", b"P3 4 4 255\n" + b"#\n" * 1_000_000, ".ppm"),
    _image("jp2", "a format that is not asked for", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(167), ".jpg"),
    Attack("eps", "a program for Ghostscript, named .jpg", _eps, _READERS, "DataError"),
    _link("image_zero", "/dev/zero"),
    _link("image_pipe", "pipe"),
    _link("image_folder", "/"),
]  # fmt: skip
