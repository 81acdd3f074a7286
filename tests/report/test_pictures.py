"""Label pictures: the VOC palette, indexed PNGs, change maps, panels."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_bytes
from caffe_gp.images.label_maps import read_label_png, save_label_png, voc_palette
from caffe_gp.report import pictures


def png(path):
    """Mode, pixels and palette of a PNG."""
    with Image.open(str(path)) as picture:
        return picture.mode, np.array(picture), picture.getpalette()


RNG = np.random.RandomState(0)


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


def test_bad_label_maps_are_refused(tmp_path):
    with pytest.raises(DataError, match="palette colours"):
        Image.fromarray(RNG.randint(0, 255, (5, 5, 3)).astype(np.uint8)).save(str(tmp_path / "rgb.png"))
        read_label_png(tmp_path / "rgb.png", 21)
    with pytest.raises(DataError, match=r"0\.\.20 or 255, found \[21\]"):
        save_label_png(tmp_path / "l.png", np.full((3, 3), 21))
        read_label_png(tmp_path / "l.png", 21)
    with pytest.raises(DataError, match="no such"):
        read_label_png(tmp_path / "missing.png")
    with pytest.raises(DataError, match="not a readable picture"):
        (tmp_path / "broken.png").write_bytes(b"<!DOCTYPE html>")
        read_label_png(tmp_path / "broken.png")
    with pytest.raises(DataError, match="not a readable picture"):
        (tmp_path / "cut.png").write_bytes((tmp_path / "l.png").read_bytes()[:60])
        read_label_png(tmp_path / "cut.png")
    for wrong in (np.zeros((2, 3, 4), int), np.array([[-1]]), np.array([[256]]), np.array([[0.5]])):
        with pytest.raises(DataError):
            save_label_png(tmp_path / "w.png", wrong)
    assert not (tmp_path / "w.png").exists()


def test_overlay_leaves_background_and_mixes_colours():
    image = np.full((2, 2, 3), 100, np.uint8)
    labels = np.array([[0, 1], [2, 255]])
    out = pictures.overlay(image, labels, alpha=0.5)
    assert out[0, 0].tolist() == [100, 100, 100]
    assert out[0, 1].tolist() == [50, 50, 114]  # BGR of VOC's (128, 0, 0), half and half
    assert out[1, 0].tolist() == [50, 114, 50]
    with pytest.raises(DataError):
        pictures.overlay(image, labels[:1])


def test_changed_map_says_what_happened():
    gt = np.array([[1, 1, 1, 1, 255, 255]])
    base = np.array([[1, 2, 1, 2, 1, 1]])
    gp = np.array([[1, 1, 2, 3, 1, 2]])
    names = ["UNCHANGED", "FIXED", "BROKEN", "OTHER", "UNKNOWN", "OTHER"]
    kinds = [getattr(pictures, name) for name in names]
    assert [tuple(p) for p in pictures.changed_map(base, gp, gt)[0]] == kinds
    plain = pictures.changed_map(base, gp)[0]
    assert [tuple(p) == pictures.OTHER for p in plain] == (base != gp)[0].tolist()


def test_amplify():
    signs = np.array([[[-1, 0, 1]]] * 3, np.int8) * 3
    assert pictures.amplify(signs)[0, :, 0].tolist() == [0, 127, 255]
    assert pictures.amplify(np.zeros((7, 2, 2))).tolist() == [[[127] * 3] * 2] * 2
    with pytest.raises(DataError):
        pictures.amplify(np.zeros((1, 3, 2, 2)))


def test_panels_keep_sizes():
    image = RNG.randint(0, 255, (40, 60, 3)).astype(np.uint8)
    row = pictures.panel([("a", image), ("a very long title that cannot fit", image)], height=80, gap=4)
    assert row.shape == (80 + pictures.TITLE_HEIGHT, 2 * 120 + 4, 3)
    assert np.array_equal(pictures.panel([("", image)]), image)
    assert pictures.stack([row, row[:, :50]]).shape == (2 * row.shape[0] + 6, row.shape[1], 3)
    with pytest.raises(DataError):
        pictures.panel([])


def test_png_bytes_hold_the_picture(tmp_path):
    image = RNG.randint(0, 255, (9, 7, 3)).astype(np.uint8)
    pictures.save_png(tmp_path / "p.png", image)
    assert np.array_equal(png(tmp_path / "p.png")[1][..., ::-1], image)


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "p.bin").write_bytes(b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "p.bin", b"new")
    assert [f.name for f in tmp_path.iterdir()] == ["p.bin"] and (tmp_path / "p.bin").read_bytes() == b"old"
