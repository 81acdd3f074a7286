"""Pictures under titles, in a grid, with a legend: one image that tells what happened.

panel = grid([[Cell("Image", image), Cell("Base", base)]], legend=[Kind("#808000", "cat")])
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from caffe_gp.errors import DataError
from caffe_gp.report import colours, pictures
from caffe_gp.report.colours import VOID, Kind

WIDTH = pictures.LARGEST
_TALLEST = 480  # no cell of a grid is taller
_TEXT, _LINE, _GAP, _SWATCH = 15, 20, 8, 13  # pixels
_INK, _SOFT = (27, 33, 40), (91, 100, 112)


@dataclass
class Cell:
    """A picture of a grid.

    title   above it; lines after the first are smaller print
    image   (H, W, 3) uint8 BGR
    window  outlined on it: rows and columns in its pixels
    share   of its column's width that it takes
    """

    title: str
    image: np.ndarray
    window: tuple[slice, slice] | None = None
    share: float = 1.0


def cell_size(shape: Sequence[int], columns: int, width: int = WIDTH) -> pictures.Size:
    """Height and width of a picture of a shape (H, W, ...) in a grid of so many columns.

    Small ones are enlarged by a whole number, so that their pixels stay square.
    """
    room = (width - (columns - 1) * _GAP) // columns
    high, wide = int(shape[0]), int(shape[1])
    scale = min(room / wide, _TALLEST / high)
    if scale >= 2:
        scale = float(int(scale))
    return max(1, round(high * scale)), max(1, round(wide * scale))


def grid(
    rows: Sequence[Sequence[Cell]],
    legend: Sequence[Kind] = (),
    columns: int | None = None,
    width: int = WIDTH,
) -> np.ndarray:
    """Rows of pictures in equal columns, a legend below; (H, W, 3) uint8 BGR, at most ``width`` wide.

    columns   default: as many as the longest row has
    """
    if not rows or not all(rows):
        raise DataError("a panel needs at least one picture in every row")
    columns = columns or max(map(len, rows))
    drawn = [[_fitted(cell, columns, width) for cell in row] for row in rows]
    column = max(picture.size[0] for row in drawn for picture in row)
    column = max(column, min((width - (columns - 1) * _GAP) // columns, 200))
    wide = columns * column + (columns - 1) * _GAP
    parts = [_row(row, fitted, column, wide) for row, fitted in zip(rows, drawn)]
    if legend:
        parts.append(_legend(list(dict.fromkeys(legend)), wide))
    total = sum(part.size[1] for part in parts) + _GAP * (len(parts) - 1)
    sheet = Image.new("RGB", (wide, total), "white")
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.size[1] + _GAP
    return np.ascontiguousarray(np.asarray(sheet)[..., ::-1])


def _fitted(cell: Cell, columns: int, width: int) -> Any:
    """A cell's picture at its size, as Pillow's image, its window outlined."""
    high, wide = cell_size(cell.image.shape, columns, width)
    size = max(1, round(high * cell.share)), max(1, round(wide * cell.share))
    picture = Image.fromarray(np.ascontiguousarray(pictures.resize(cell.image, size)[..., ::-1]))
    if cell.window is not None:
        scales = size[0] / cell.image.shape[0], size[1] / cell.image.shape[1]
        (top, bottom), (left, right) = (
            (part.start * scale, part.stop * scale - 1) for part, scale in zip(cell.window, scales)
        )
        draw = ImageDraw.Draw(picture)
        for grown, colour in ((1, "white"), (0, "black")):
            draw.rectangle((left - grown, top - grown, right + grown, bottom + grown), outline=colour)
    return picture


def _row(cells: Sequence[Cell], drawn: Sequence[Any], column: int, wide: int) -> Any:
    lines = [_title_lines(cell.title, column) for cell in cells]
    head = max(len(one) for one in lines) * _LINE + 2
    row = Image.new("RGB", (wide, head + max(picture.size[1] for picture in drawn)), "white")
    draw = ImageDraw.Draw(row)
    for k, (texts, picture) in enumerate(zip(lines, drawn)):
        left = k * (column + _GAP)
        for i, text in enumerate(texts):
            draw.text((left, i * _LINE), text, fill=_SOFT if i else _INK, font=_font(_TEXT - bool(i)))
        row.paste(picture, (left, head))
    return row


def _title_lines(title: str, room: int) -> list[str]:
    """A title's lines, none wider than its column."""
    found: list[str] = []
    for line in title.split("\n"):
        words = line.split(" ")
        text = words[0]
        for word in words[1:]:
            if _wide(f"{text} {word}") > room:
                found.append(text)
                text = word
            else:
                text = f"{text} {word}"
        found.append(text)
    return found


def _legend(entries: Sequence[Kind], wide: int) -> Any:
    """Swatches with their names, in as many lines as they need."""
    places, left, top = [], 0, 0
    for entry in entries:
        needs = _SWATCH + 6 + _wide(entry.name)
        if left and left + needs > wide:
            left, top = 0, top + _LINE + 2
        places.append((left, top))
        left += needs + 18
    strip = Image.new("RGB", (wide, top + _LINE + 2), "white")
    draw = ImageDraw.Draw(strip)
    for entry, (x, y) in zip(entries, places):
        box = (x, y + 4, x + _SWATCH, y + 4 + _SWATCH)
        draw.rectangle(box, fill="white" if entry.colour == VOID.colour else entry.colour, outline=_SOFT)
        if entry.colour == VOID.colour:
            for shift in range(0, _SWATCH, 5):
                draw.line((x + shift, y + 4, x, y + 4 + shift), fill=colours.rgb(VOID.colour))
                corner = (x + _SWATCH, y + 4 + shift, x + shift, y + 4 + _SWATCH)
                draw.line(corner, fill=colours.rgb(VOID.colour))
        draw.text((x + _SWATCH + 6, y + 1), entry.name, fill=_INK, font=_font(_TEXT - 1))
    return strip


def _wide(text: str) -> int:
    """Pixels that a text takes."""
    if hasattr(_font(_TEXT), "getlength"):
        return int(_font(_TEXT).getlength(text)) + 1
    return int(_font(_TEXT).getsize(text)[0])  # Pillow 7 and older


@lru_cache(maxsize=None)
def _font(size: int) -> Any:
    """A sans-serif font of this height in pixels: the system's, else the one inside Pillow."""
    for name in ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    try:
        return ImageFont.load_default(size)
    except TypeError:  # before Pillow 10.1
        from matplotlib import font_manager

        return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
