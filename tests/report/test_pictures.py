"""Pictures of labels: overlays, changed pixels, zooms, panels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.report import colours, panels, pictures
from caffe_gp.report.colours import BROKEN, CHANGED, FIXED, OTHER, VOID, Kind
from caffe_gp.report.panels import Cell
from caffe_gp.report.pictures import Changes

RNG = np.random.RandomState(0)


def test_overlays_paint_classes_and_leave_the_background():
    image = np.full((20, 40, 3), 100, np.uint8)
    labels = np.repeat(np.array([[0, 1, 2, 255]]), 10, axis=1).repeat(20, axis=0)
    out = pictures.overlay(image, labels)
    background, red, green = (out[10, x].astype(int) for x in (5, 15, 25))
    assert np.ptp(background) == 0  # the photograph, in grey
    assert red.argmax() == 2 and green.argmax() == 1  # VOC's (128, 0, 0) and (0, 128, 0)
    assert (out[:, 9] == 255).all() and (out[:, 19] == 255).all()  # a line between classes
    void = out[:, 31:]
    assert (void == colours.bgr(VOID.colour)).all(axis=2).mean() == pytest.approx(2 / 7, abs=0.05)
    with pytest.raises(DataError, match="one size"):
        pictures.overlay(image, labels[:1])


def test_an_overlay_of_a_large_image_is_small():
    image, labels = np.zeros((1024, 2048, 3), np.uint8), np.zeros((1024, 2048), np.uint8)
    assert pictures.overlay(image, labels).shape == (600, 1200, 3)
    assert pictures.changed(image, Changes.of(labels, labels)).shape == (600, 1200, 3)


def test_changes_are_told_apart_and_counted():
    truth = np.array([[1, 1, 1, 1, 255, 255]])
    base = np.array([[1, 2, 1, 2, 1, 1]])
    gp = np.array([[1, 1, 2, 3, 1, 2]])
    found = Changes.of(base, gp, truth)
    assert found.fixed[0].tolist() == [False, True, False, False, False, False]
    assert found.broken[0].tolist() == [False, False, True, False, False, False]
    assert found.other[0].tolist() == [False, False, False, True, False, False]
    assert found.void[0].tolist() == [False, False, False, False, True, True]
    assert [kind.name for kind in found.legend()] == [
        "1 put right",
        "1 broken",
        "1 wrong before and after",
        "void",
    ]
    plain = Changes.of(base, gp)
    assert plain.any[0].tolist() == (base != gp)[0].tolist()
    assert [kind.name for kind in plain.legend()] == ["4 changed"]
    assert [kind.name for kind in Changes.of(base, base).legend()] == ["no label changed"]
    with pytest.raises(DataError, match="one size"):
        Changes.of(base, gp[:, :2])


def test_changes_against_each_pixel():
    random = np.random.RandomState(1)
    base, after, truth = (random.choice([0, 1, 2, 255], (9, 11)).astype(np.uint8) for _ in range(3))
    changes = Changes.of(base, after, truth)
    found = changes.fixed, changes.broken, changes.other
    for y, x in np.ndindex(9, 11):
        b, a, t = base[y, x], after[y, x], truth[y, x]
        counts = b != a and t != 255
        expected = (counts and a == t, counts and b == t, counts and t not in (a, b))
        assert tuple(mask[y, x] for mask in found) == expected


def test_changed_pixels_have_the_colours_of_their_legend():
    truth = RNG.randint(0, 3, (40, 50))
    base, gp = (np.where(RNG.rand(40, 50) < 0.5, truth, RNG.randint(0, 3, (40, 50))) for _ in range(2))
    truth[:5] = 255
    image = RNG.randint(0, 255, (40, 50, 3)).astype(np.uint8)
    changes = Changes.of(base, gp, truth)
    drawn = pictures.changed(image, changes)
    for kind, mask in zip((FIXED, BROKEN, OTHER), (changes.fixed, changes.broken, changes.other)):
        assert mask.any() and np.array_equal((drawn == colours.bgr(kind.colour)).all(axis=2), mask)
    rest = drawn[~changes.any & ~changes.void]
    assert rest.min() >= colours.rgb(colours.GROUND)[0] and np.ptp(rest, axis=1).max() == 0
    plain = pictures.changed(image, Changes.of(base, gp))
    assert np.array_equal((plain == colours.bgr(CHANGED.colour)).all(axis=2), base != gp)


def test_scaled_labels_are_labels():
    labels = RNG.randint(0, 200, (31, 47))
    for size in ((10, 9), (62, 94), (31, 47)):
        found = pictures.resize_labels(labels, size)
        assert found.shape == size and set(found.ravel()) <= set(labels.ravel())
    assert np.array_equal(pictures.resize_labels(labels, (62, 94))[::2, ::2], labels)


def test_the_legend_names_the_classes_that_occur():
    labels = np.array([[0, 2, 2, 7, 255]])
    found = pictures.legend_of([labels], ["background", "cat", "dog"])
    assert found == [Kind("#008000", "dog"), Kind("#808080", "class 7"), VOID]
    assert pictures.legend_of([labels[:, :2]], None, np.array([[9, 9, 9], [1, 1, 1], [255, 0, 16]])) == [
        Kind("#090909", "class 0"),
        Kind("#ff0010", "class 2"),
    ]


def test_the_zoom_is_on_the_largest_region():
    mask = np.zeros((200, 300), bool)
    mask[20:24, 20:24] = True
    mask[100:160, 200:210] = True
    rows, columns = pictures.largest_region(mask)
    assert mask[rows, columns].sum() == 600 and not mask[:90, :90][rows, columns].any()
    assert (rows.stop - rows.start) / (columns.stop - columns.start) == pytest.approx(200 / 300, rel=0.05)
    assert 0 <= rows.start and rows.stop <= 200 and columns.stop <= 300
    assert pictures.largest_region(np.zeros((5, 5), bool)) is None
    assert pictures.largest_region(np.ones((5, 9), bool)) == (slice(0, 5), slice(0, 9))


def test_amplify():
    signs = np.array([[[-1, 0, 1]]] * 3, np.int8) * 3
    assert pictures.amplify(signs)[0, :, 0].tolist() == [0, 127, 255]
    assert pictures.amplify(np.zeros((7, 2, 2))).tolist() == [[[127] * 3] * 2] * 2
    with pytest.raises(DataError):
        pictures.amplify(np.zeros((1, 3, 2, 2)))


def test_panels_are_at_most_as_wide_as_a_page():
    for shape in ((1024, 2048, 3), (375, 500, 3), (28, 28, 3), (900, 90, 3)):
        image = RNG.randint(0, 255, shape).astype(np.uint8)
        cells = [Cell("Image\nof something with a long title that is broken into lines", image)] * 4
        out = panels.grid([cells, cells[:2]], legend=[Kind("#0b57a8", "1,234 put right"), VOID] * 20)
        assert out.dtype == np.uint8 and 500 < out.shape[1] <= panels.WIDTH
    with pytest.raises(DataError):
        panels.grid([])


def test_small_pictures_are_enlarged_by_whole_numbers():
    image = RNG.randint(0, 255, (28, 28, 3)).astype(np.uint8)
    high, wide = panels.cell_size(image.shape, 4)
    assert high == wide and high % 28 == 0 and high >= 200


def test_png_bytes_hold_the_picture(tmp_path):
    image = RNG.randint(0, 255, (9, 7, 3)).astype(np.uint8)
    pictures.save_png(tmp_path / "p.png", image)
    with Image.open(str(tmp_path / "p.png")) as picture:
        assert np.array_equal(np.array(picture)[..., ::-1], image)
