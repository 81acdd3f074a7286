"""Pictures of labels: overlays, change maps, panels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.report import pictures

RNG = np.random.RandomState(0)


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
    with Image.open(str(tmp_path / "p.png")) as picture:
        assert np.array_equal(np.array(picture)[..., ::-1], image)
