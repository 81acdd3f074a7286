"""Sheets of pictures for print: where names go, sizes, files."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from caffe_gp.report import figures, pictures
from caffe_gp.report.figures import Picture, PictureRow

pytest.importorskip("matplotlib")

NAMES = ["background", "aeroplane", "bicycle", "bird"]


def test_names_stand_on_their_areas():
    labels = np.zeros((100, 150), np.uint8)
    labels[10:60, 5:55] = 1
    labels[60:95, 80:145] = 3
    labels[2:5, 100:103] = 2  # too small for a name
    labels[70:80, 10:20] = 255
    texts = figures.labelled(np.zeros((100, 150, 3), np.uint8), labels, NAMES).texts
    assert [text for text, _, _ in texts] == ["aeroplane", "bird"]
    for text, x, y in texts:
        assert NAMES[labels[int(y), int(x)]] == text


def test_names_neither_leave_the_picture_nor_cover_each_other():
    texts = [("diningtable", 3.0, 50.0), ("chair", 20.0, 52.0), ("sofa", 25.0, 47.0), ("cat", 149.0, 2.0)]
    figure = _sheet_figure([Picture(np.zeros((100, 150, 3), np.uint8), texts)] * 6)
    written = figure.axes[0].texts
    assert [text.get_text() for text in written] == [text for text, _, _ in texts]
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in written]
    for k, box in enumerate(boxes):
        picture = figure.axes[0].get_window_extent(renderer)
        assert picture.x0 - 2 <= box.x0 and box.x1 <= picture.x1 + 2
        assert not any(box.overlaps(other) for other in boxes[:k])


def test_sheets_keep_proportions():
    """In inches: 7 wide, two columns; a landscape picture fills its column, a tall one is as high as wide."""
    wide, tall = np.zeros((60, 120, 3), np.uint8), np.zeros((400, 100, 3), np.uint8)
    with figures.style():
        figure = figures.sheet([PictureRow([Picture(wide)] * 2, "one"), PictureRow([Picture(tall)] * 2)])
    places = [axes.get_position() for axes in figure.axes]
    size = figure.get_size_inches()
    widths, heights = (
        [getattr(p, side) * size[k] for p in places] for k, side in ((0, "width"), (1, "height"))
    )
    column = (7 - 2 * 0.04 - 0.05) / 2
    assert widths[:2] == pytest.approx([column] * 2) and heights[:2] == pytest.approx([column / 2] * 2)
    assert heights[2:] == pytest.approx([column] * 2) and widths[2:] == pytest.approx([column / 4] * 2)
    assert min(p.y0 for p in places) >= 0 and max(p.y1 for p in places) <= 1


def test_a_sheet_has_its_legend_once():
    labels = np.zeros((60, 60), np.uint8)
    labels[10:50, 10:50], labels[:3] = 1, 255
    image = np.zeros((60, 60, 3), np.uint8)
    changes = pictures.Changes.of(labels, labels * 0, labels)
    cells = [figures.labelled(image, labels, NAMES), figures.changed(image, changes)]
    with figures.style():
        figure = figures.sheet([PictureRow(cells), PictureRow(cells)])
    names = [text.get_text() for text in figure.texts]
    assert names == ["aeroplane", "broken", "void"] and len(figure.artists) == 3


def test_heat():
    # PuOr: orange below, white in the middle, purple above.
    low, middle, high = figures.heat(np.array([[-1.0, 0.0, 1.0]]), -1, 1, "PuOr").image[0].astype(int)
    assert low[2] > low[0] and high[0] > high[2] and middle.min() > 240


def test_files_have_the_printed_size(tmp_path):
    figure = _sheet_figure([Picture(np.zeros((30, 40, 3), np.uint8))])
    figures.save(figure, tmp_path / "new", "sheet")
    with Image.open(tmp_path / "new/sheet.png") as opened:
        assert opened.size[0] == 7 * figures.DPI
    assert (tmp_path / "new/sheet.pdf").read_bytes().startswith(b"%PDF")
    assert len(list((tmp_path / "new").iterdir())) == 2


def _sheet_figure(cells):
    with figures.style():
        return figures.sheet([PictureRow(cells, "caption", ["title"] * len(cells), "heading")])
