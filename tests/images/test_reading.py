"""Images of every kind as a viewer shows them, against OpenCV and numpy; what is refused."""

from __future__ import annotations

import os
import struct
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from caffe_gp import engines
from caffe_gp.errors import DataError, UsageError
from caffe_gp.images.inputs import read_palette
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.images.reading import check_image, image_size, read_image

pytestmark = pytest.mark.engine

# What each orientation of EXIF means, written out: rows and columns of the picture as shown.
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


@pytest.fixture(scope="module")
def rgb():
    """(20, 30, 3) with no symmetry, smooth enough for JPEG."""
    y, x = np.mgrid[:20, :30]
    return np.dstack([x * 8, y * 12, 255 - x * 4 - y * 3]).astype(np.uint8)


def pixels(path):
    return np.asarray(read_image(path)).astype(int)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_orientation(tmp_path, rgb, ending, orientation):
    path = tmp_path / f"a.{ending}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"jpg": {"quality": 100, "subsampling": 0, "exif": exif}, "png": {"exif": exif}}
    Image.fromarray(rgb).save(path, **how.get(ending, {"tiffinfo": {0x0112: orientation}}))
    expected = TURNED[orientation](rgb.astype(int))
    assert image_size(path) == expected.shape[1::-1]
    assert pixels(path).shape == expected.shape and abs(pixels(path) - expected).max() <= 4
    if ending == "jpg":  # OpenCV is who reads images for BVLC Caffe's ImageData
        assert abs(pixels(path) - cv2.imread(str(path))[:, :, ::-1]).max() <= 2


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_grey_is_its_8_bit_version(tmp_path, rgb, ending):
    path = tmp_path / f"a.{ending}"
    cv2.imwrite(str(path), rgb[:, :, 0].astype(np.uint16) * 257)
    assert np.array_equal(pixels(path), np.repeat(rgb[:, :, :1], 3, 2))
    wide = np.array([[0, 1, 128, 129, 40000, 65535]], np.uint16)
    cv2.imwrite(str(path), wide)
    assert pixels(path)[0, :, 0].tolist() == np.rint(wide[0] / 65535 * 255).tolist()


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_colours(tmp_path, rgb, ending):
    path = tmp_path / f"a.{ending}"
    cv2.imwrite(str(path), rgb[:, :, ::-1].astype(np.uint16) * 257)
    assert np.array_equal(pixels(path), rgb)


def test_transparent_parts_are_on_white(tmp_path, rgb):
    alpha = np.tile(np.arange(30, dtype=np.uint8) * 8, (20, 1))
    share = alpha[:, :, np.newaxis] / 255
    for name, array in {"rgba": rgb, "la": rgb[:, :, 0]}.items():
        Image.fromarray(np.dstack([array, alpha]), name.upper()).save(tmp_path / "a.png")
        colours = np.broadcast_to(array.reshape(20, 30, -1), rgb.shape)
        assert abs(pixels(tmp_path / "a.png") - (colours * share + 255 * (1 - share))).max() < 1
    palette = Image.fromarray(rgb).quantize(8)
    palette.save(tmp_path / "p.png", transparency=3)
    expected = np.asarray(palette.convert("RGB")).copy()
    expected[np.asarray(palette) == 3] = 255
    assert np.array_equal(pixels(tmp_path / "p.png"), expected)


def test_palettes_two_colours_and_inks(tmp_path, rgb):
    palette = Image.fromarray(rgb).quantize(8)
    palette.save(tmp_path / "p.png")
    assert np.array_equal(pixels(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))
    black_and_white = rgb[:, :, 0] > 99
    Image.fromarray(black_and_white).save(tmp_path / "1.png")
    assert np.array_equal(pixels(tmp_path / "1.png")[:, :, 1], 255 * black_and_white)
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "c.jpg", quality=100)
    assert abs(pixels(tmp_path / "c.jpg") - rgb).max() <= 4
    assert abs(pixels(tmp_path / "c.jpg") - cv2.imread(str(tmp_path / "c.jpg"))[:, :, ::-1]).max() <= 4


@pytest.mark.parametrize(
    ("kind", "message"), [(np.float32, "floating-point numbers"), (np.int32, "whole numbers of 32 bits")]
)
def test_pixels_without_a_range_are_refused(tmp_path, rgb, kind, message):
    Image.fromarray(rgb[:, :, 0].astype(kind)).save(tmp_path / "a.tif")
    for read in (read_image, image_size):
        with pytest.raises(
            DataError, match=f"a.tif: its pixels are {message}, .*: save it with 8 or 16 bits"
        ):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", ["gif", "tif"])
def test_several_pictures_in_a_file_are_refused(tmp_path, rgb, ending):
    path = tmp_path / f"a.{ending}"
    first = Image.fromarray(rgb)
    first.save(path)
    assert image_size(path) == (30, 20)
    first.save(path, save_all=True, append_images=[Image.fromarray(rgb[::-1])])
    with pytest.raises(DataError, match="a file of several frames or pages"):
        read_image(path)


def test_a_tiff_s_smaller_versions_are_not_pages(tmp_path, rgb):
    """The pyramids of maps; here in a circle, as only a damaged file has it."""
    path = tmp_path / "a.tif"
    Image.fromarray(rgb).save(path, tiffinfo={254: 1})
    content = bytearray(path.read_bytes())
    first = int.from_bytes(content[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    content[end : end + 4] = first.to_bytes(4, "little")
    path.write_bytes(content)
    assert image_size(path) == (30, 20) and np.array_equal(pixels(path), rgb)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "bmp"])
def test_a_cut_file_is_found_out_and_one_with_something_behind_is_not(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)).save(path)
    content = path.read_bytes()
    assert check_image(path) == (30, 20)
    path.write_bytes(content + b"from a camera")
    assert check_image(path) == (30, 20)
    path.write_bytes(content[:-60])
    with pytest.raises(DataError, match=f"a.{ending}: not a readable image .*truncated"):
        check_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is an empty file, not an image"),
        (b"<!DOCTYPE html>", "this is a web page, not an image"),
        (b"\x01\x02\x03\xff", r"not a readable image \(its content is of none of the formats JPEG, .*\)"),
    ],
)
def test_what_is_no_image(tmp_path, content, message):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=message):
        check_image(tmp_path / "a.jpg")


def test_missing_files_and_broken_links(tmp_path):
    with pytest.raises(DataError, match="a.jpg: no such image"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="a.jpg: a broken link: .*gone.jpg does not exist"):
        read_image(tmp_path / "a.jpg")


def test_a_huge_image_says_the_limit(tmp_path, monkeypatch, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 400
    )  # Pillow warns from here on, and refuses twice as many
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with pytest.raises(
        DataError, match="a.png: more than 400 pixels, .*Pillow reads of one image. Cut it into tiles"
    ):
        check_image(tmp_path / "a.png")


def test_the_limit_of_ones_own(tmp_path, monkeypatch, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    monkeypatch.setenv("CAFFE_GP_MAX_PIXELS", "599")
    for read in (image_size, read_image, check_image, read_label_png, as_caffe):
        with pytest.raises(DataError, match=r"a.png: more than 599 pixels \(30 x 20\).*--max-pixels"):
            read(tmp_path / "a.png")
    monkeypatch.setenv("CAFFE_GP_MAX_PIXELS", "600")
    assert image_size(tmp_path / "a.png") == (30, 20)
    monkeypatch.setenv("CAFFE_GP_MAX_PIXELS", "many")
    with pytest.raises(UsageError, match="expected a number of pixels, found 'many'"):
        image_size(tmp_path / "a.png")


def as_caffe(path):
    """As the embedded Caffe's data layers read it."""
    if engines.resolve() == "bvlc":
        return read_image(path)
    from caffe_gp.caffe.transformer import read_image as read_as_caffe

    return read_as_caffe(str(path), 0, 0, color=True)


def gif(width, height):
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0, 0, 0)
        + (b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;")
    )


def bmp(width, height):
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def pgm(width, height):
    return b"P5 %d %d 255\n" % (width, height) + b"0" * 20


@pytest.mark.parametrize("make", [gif, bmp, pgm])
@pytest.mark.parametrize("size, message", [((5000, 5000), "pixels stored in"), ((30000, 4000), "more than")])
def test_small_files_that_claim_to_be_large(tmp_path, make, size, message):
    (tmp_path / "a.png").write_bytes(make(*size))
    for read in (image_size, read_image, as_caffe):
        with pytest.raises(DataError, match=message):
            read(str(tmp_path / "a.png"))
    for read in (read_label_png, read_palette):
        with pytest.raises(DataError, match=r"a\.png: "):
            read(str(tmp_path / "a.png"))


def test_large_and_compressed_and_yet_an_image(tmp_path, monkeypatch):
    """As a label map it is fine: large areas of one class take no space."""
    Image.new("L", (5000, 5000), 7).save(tmp_path / "a.png")
    assert (read_label_png(tmp_path / "a.png") == 7).all()
    with pytest.raises(DataError, match=r"stored in \d+ bytes.*--max-pixels 25000000 "):
        read_image(tmp_path / "a.png")
    monkeypatch.setenv("CAFFE_GP_MAX_PIXELS", "25000000")
    assert (np.asarray(read_image(tmp_path / "a.png")) == 7).all()


@pytest.mark.parametrize("kind", ["EPS", "JPEG2000", "TGA", "PCX", "ICO"])
def test_other_formats_are_not_opened(tmp_path, monkeypatch, rgb, kind):
    monkeypatch.setattr("subprocess.Popen", None)  # what starts Ghostscript
    try:
        Image.fromarray(rgb).save(str(tmp_path / "a.jpg"), kind)
    except OSError:
        pytest.skip(f"this Pillow does not write {kind}")
    for read in (image_size, read_image, check_image, read_label_png, as_caffe):
        with pytest.raises(DataError, match="none of the formats|not an image"):
            read(tmp_path / "a.jpg")


def test_pipes_devices_and_folders_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    refused = {
        tmp_path / "a.png": "a pipe",
        "/dev/zero": "a device",
        tmp_path: "a folder",
        "a\0b": "zero byte",
    }
    for path, message in refused.items():
        for read in (image_size, read_image, read_label_png, as_caffe):
            with pytest.raises(DataError, match=message):
                read(str(path))
