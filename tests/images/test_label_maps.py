"""Label maps: the VOC palette, indexed PNGs, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.images.label_maps import read_label_png, save_label_png, voc_palette

RNG = np.random.RandomState(0)


def png(path):
    """Mode, pixels and palette of a PNG."""
    with Image.open(str(path)) as picture:
        return picture.mode, np.array(picture), picture.getpalette()


def test_palette_is_vocs():
    # The devkit's published colours: background, aeroplane, bicycle, bird, boat, person, tv, void.
    palette = voc_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        4: (0, 0, 128),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    for label, colour in known.items():
        assert tuple(palette[label]) == colour


def test_palette_is_the_one_in_real_voc_files(shared_data):
    files = sorted((shared_data / "voc2012").rglob("*.png"))
    indexed = [file for file in files if png(file)[0] == "P"][:3]
    if not indexed:
        pytest.skip("no indexed VOC label maps in the real test data")
    for file in indexed:
        theirs = np.array(png(file)[2]).reshape(-1, 3)
        used = np.unique(read_label_png(file))
        assert np.array_equal(theirs[used], voc_palette()[used])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_label_png_round_trip(tmp_path, dtype):
    labels = RNG.randint(0, 21, (37, 53)).astype(dtype)
    labels[:2] = 255
    save_label_png(tmp_path / "sub" / "a.png", labels)
    assert png(tmp_path / "sub" / "a.png")[0] == "P"
    back = read_label_png(tmp_path / "sub" / "a.png", classes=21)
    assert back.dtype == np.uint8 and np.array_equal(back, labels)
    assert [f.name for f in (tmp_path / "sub").iterdir()] == ["a.png"]


def test_label_maps_of_16_bits_and_of_one(tmp_path):
    labels = RNG.randint(0, 21, (4, 6))
    Image.frombytes("I;16", (6, 4), labels.astype("<u2").tobytes()).save(str(tmp_path / "deep.png"))
    assert np.array_equal(read_label_png(tmp_path / "deep.png", 21), labels)
    Image.fromarray(labels > 9).save(str(tmp_path / "two.png"))
    assert np.array_equal(read_label_png(tmp_path / "two.png", 2), labels > 9)


def test_bad_label_maps_are_refused(tmp_path):
    with pytest.raises(DataError, match="palette colours"):
        Image.fromarray(RNG.randint(0, 255, (5, 5, 3)).astype(np.uint8)).save(str(tmp_path / "rgb.png"))
        read_label_png(tmp_path / "rgb.png", 21)
    with pytest.raises(DataError, match=r"0\.\.20 or 255, found \[21\]"):
        save_label_png(tmp_path / "l.png", np.full((3, 3), 21))
        read_label_png(tmp_path / "l.png", 21)
    with pytest.raises(DataError, match="l.jpg: a JPEG file, .* label maps are PNG files"):
        Image.fromarray(np.ones((9, 9), np.uint8)).save(str(tmp_path / "l.jpg"))
        read_label_png(tmp_path / "l.jpg", 21)
    with pytest.raises(DataError, match=r"deep.png: labels are 0\.\.255, found 7\.\.300"):
        Image.frombytes("I;16", (2, 1), np.array([7, 300], "<u2").tobytes()).save(str(tmp_path / "deep.png"))
        read_label_png(tmp_path / "deep.png", 21)
    with pytest.raises(DataError, match="no such"):
        read_label_png(tmp_path / "missing.png")
    with pytest.raises(DataError, match="this is a web page, not an image"):
        (tmp_path / "broken.png").write_bytes(b"<!DOCTYPE html>")
        read_label_png(tmp_path / "broken.png")
    with pytest.raises(DataError, match="not a readable label map"):
        (tmp_path / "cut.png").write_bytes((tmp_path / "l.png").read_bytes()[:60])
        read_label_png(tmp_path / "cut.png")
    for wrong in (np.zeros((2, 3, 4), int), np.array([[-1]]), np.array([[256]]), np.array([[0.5]])):
        with pytest.raises(DataError):
            save_label_png(tmp_path / "w.png", wrong)
    assert not (tmp_path / "w.png").exists()
