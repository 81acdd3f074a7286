"""Figures for print: PNG and PDF, texts of 7 points and more, colours that everyone can tell apart.

    with figures.style():
        figure = figures.new(height=2.5)
        ...
    figures.save(figure, folder, "figure8")

``sheet`` draws rows of pictures; ``curves_axes`` prepares axes for lines.
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from caffe_gp.errors import CaffeGPError
from caffe_gp.files.atomic import write_bytes
from caffe_gp.images.label_maps import IGNORE, full_palette
from caffe_gp.report import pictures
from caffe_gp.report.colours import GREY, KINDS, LINES, OURS, PAPER, VOID, Kind

WIDTH = 7.0  # inches: the text width of a two-column page
PLOT = 4.0  # inches: lines, whose text stays readable on a page for a telephone
DPI = 200
# The files of a figure.
SHEET, CURVES = ("png", "pdf"), ("png", "pdf", "svg")
FONT, SMALL = 8, 7  # points
_CHARACTER, _LINE = 0.6 * SMALL / 72, 1.2 * SMALL / 72  # inches: a small letter's width, a line's height
# Line styles that need no colour.
_STYLES = ("o-", "s--", "^-.", "D:", "v-", "x--")

_STYLE: dict[str, Any] = {
    "font.size": FONT,
    "axes.titlesize": FONT,
    "axes.labelsize": FONT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "caffe_gp",
}
_SMALLEST_NAMED = 0.02  # share of a picture that a class needs to have its name written on it


def style() -> Any:
    """Context in which figures are drawn and saved. CaffeGPError if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise CaffeGPError("figures need the Python package matplotlib: pip install matplotlib") from None
    # A name with two $ is a name. Older versions always take it for a formula.
    plain: dict[str, Any] = {"text.parse_math": False} if "text.parse_math" in matplotlib.rcParams else {}
    style: Any = dict(_STYLE, **plain)
    return matplotlib.rc_context(style)


def new(height: float, width: float = WIDTH) -> Any:
    """An empty matplotlib figure, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def looks() -> Iterator[tuple[str, str]]:
    """Colour and style of a first line, a second, ...: 36 different ones, again and again."""
    for shift in itertools.count():
        for i, colour in enumerate(LINES):
            yield colour, _STYLES[(i + shift) % len(_STYLES)]


def save(figure: Any, folder: Path, name: str, kinds: Sequence[str] = SHEET) -> None:
    """Write ``folder/name.KIND`` of each kind; each appears only when it is complete.

    kinds   SHEET for photographs, CURVES for lines: a page shows their SVG
    """
    # Without dates: the same numbers give the same files.
    metadata: dict[str, Any] = {"png": {"Software": "caffe_gp"}, "pdf": {"CreationDate": None}}
    metadata["svg"] = {"Date": None}
    for kind in kinds:
        stream = io.BytesIO()
        more = {"metadata": metadata[kind], "transparent": kind == "svg"}
        with style():
            figure.savefig(stream, format=kind, dpi=DPI, **more)
        write_bytes(Path(folder) / f"{name}.{kind}", stream.getvalue())


def curves_axes(axes: Any, x_title: str, y_title: str, title: str = "") -> None:
    """Name the axes of a line plot and give it a light grid."""
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    axes.set_title(title)
    axes.grid(True, alpha=0.25, linewidth=0.5)


@dataclass
class Dot:
    """A line of ``beside``.

    ours    'gain', and 'low' and 'high' where there is an interval, as ``Gain.points()`` has them
    paper   its value; either may be missing
    """

    name: str
    ours: Mapping[str, float] = field(default_factory=dict)
    paper: float | None = None


def beside(dots: Sequence[Dot], x_title: str) -> Any:
    """Values with their intervals below each other, the paper's beside ours: a matplotlib figure."""
    with style():
        figure = new(0.9 + 0.24 * len(dots), PLOT)
        axes = figure.add_subplot(1, 1, 1)
        curves_axes(axes, x_title, "")
        axes.set_xlabel(x_title, loc="right")  # it may be longer than the axis, whose left has room
        axes.axvline(0, color=GREY, linewidth=0.8)
        for place, dot in enumerate(dots):
            if "low" in dot.ours:
                axes.plot([dot.ours["low"], dot.ours["high"]], [place] * 2, "-", color=OURS)
            if dot.ours:
                axes.plot([dot.ours["gain"]], [place], "o", color=OURS, label="ours")
            if dot.paper is not None:
                axes.plot([dot.paper], [place], "s", color=PAPER, markerfacecolor="none", label="paper")
        axes.set_yticks(range(len(dots)))
        axes.set_yticklabels([dot.name for dot in dots])
        axes.set_ylim(len(dots) - 0.5, -0.5)
        handles, names = axes.get_legend_handles_labels()
        shown = dict(zip(names, handles))
        axes.legend(
            shown.values(), shown.keys(), frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2
        )
        figure.tight_layout()
    return figure


# ---- rows of pictures


@dataclass
class Picture:
    """One cell of a sheet.

    image   (H, W, 3) uint8 BGR
    texts   (text, x, y): written on it, in pixels
    boxes   (left, top, width, height, colour): outlined on it, in pixels
    nearest show single pixels as squares instead of smoothing them
    legend  what its colours mean; the sheet has them all below
    """

    image: np.ndarray
    texts: Sequence[tuple[str, float, float]] = ()
    boxes: Sequence[tuple[float, float, float, float, str]] = ()
    nearest: bool = False
    legend: Sequence[Kind] = ()


@dataclass
class PictureRow:
    """Pictures side by side in equal columns, all of the first one's proportions.

    caption   above them; ``titles``, one a column, above the caption; both may hold line breaks
    heading   of the rows that begin here, above all
    """

    cells: Sequence[Picture]
    caption: str = ""
    titles: Sequence[str] = ()
    heading: str = ""


def sheet(rows: Sequence[PictureRow], width: float = WIDTH, tallest: float = 1.0) -> Any:
    """A figure of rows of pictures, their legend below; returns the matplotlib figure.

    tallest   height that a picture may have, as a share of its column's width; higher ones are scaled down
    """
    with style():
        return _Sheet(rows, width, tallest).figure


def _rank(kind: Kind) -> int:
    """Where a legend has it: classes, then changes, then void."""
    return KINDS.index(kind) if kind in KINDS else -1


class _Sheet:
    """Geometry in inches from the top left corner."""

    _LINE, _GAP, _MARGIN, _DROP = 0.15, 0.05, 0.04, 0.045

    def __init__(self, rows: Sequence[PictureRow], width: float, tallest: float) -> None:
        self.width, self._tallest = width, tallest
        self._lines: list[tuple[float, float, str, dict]] = []
        self._placed: list[tuple[float, float, float, float, Picture]] = []
        self._swatches: list[tuple[float, float, Kind]] = []
        self._top = self._MARGIN
        for row in rows:
            self._row(row)
        every = dict.fromkeys(kind for row in rows for cell in row.cells for kind in cell.legend)
        self._legend(sorted(every, key=_rank))
        self.figure = new(self._top + self._MARGIN - self._GAP, width)
        self._draw()

    def _row(self, row: PictureRow) -> None:
        columns = len(row.cells)
        cell = (self.width - 2 * self._MARGIN - (columns - 1) * self._GAP) / columns
        lefts = [self._MARGIN + column * (cell + self._GAP) for column in range(columns)]
        if row.heading:
            self._top += 0.5 * self._LINE
            self._write([self._MARGIN], [row.heading], fontsize=FONT + 1, fontweight="bold")
        if row.titles:
            self._write([left + cell / 2 for left in lefts], row.titles, fontsize=FONT, ha="center")
        if row.caption:
            self._write([self._MARGIN], [row.caption], fontsize=SMALL)
        high, wide = row.cells[0].image.shape[:2]
        width = cell * min(1, self._tallest * wide / high)
        height = width * high / wide
        for left, picture in zip(lefts, row.cells):
            self._placed.append((left + (cell - width) / 2, self._top, width, height, picture))
        self._top += height + self._GAP

    def _legend(self, entries: Sequence[Kind]) -> None:
        """Swatches and names, in as many lines as they need."""
        left = self._MARGIN
        for entry in entries:
            needs = _CHARACTER * len(entry.name) + 2 * self._LINE
            if left > self._MARGIN and left + needs > self.width:
                left, self._top = self._MARGIN, self._top + self._LINE
            self._swatches.append((left, self._top, entry))
            name = left + 0.9 * self._LINE, self._top + self._LINE - self._DROP
            self._lines.append((*name, entry.name, {"fontsize": SMALL}))
            left += needs
        if entries:
            self._top += self._LINE + self._GAP

    def _write(self, lefts: Sequence[float], texts: Sequence[str], **look: Any) -> None:
        """Texts beside each other, their first lines on one level."""
        for left, text in zip(lefts, texts):
            for k, line in enumerate(text.split("\n"), 1):
                self._lines.append((left, self._top + k * self._LINE - self._DROP, line, look))
        self._top += max(text.count("\n") + 1 for text in texts) * self._LINE

    def _draw(self) -> None:
        from matplotlib.patches import Rectangle

        total, side = self.figure.get_figheight(), 0.65 * self._LINE
        for left, top, entry in self._swatches:
            striped = entry.colour == VOID.colour
            self.figure.add_artist(
                Rectangle(
                    (left / self.width, 1 - (top + self._LINE - self._DROP) / total),
                    side / self.width,
                    side / total,
                    facecolor="white" if striped else entry.colour,
                    edgecolor=VOID.colour,
                    hatch="//////" if striped else None,
                    linewidth=0.4,
                )
            )
        for left, top, text, look in self._lines:
            self.figure.text(
                left / self.width, 1 - top / total, text, va="baseline", linespacing=1.05, **look
            )
        for left, top, width, height, cell in self._placed:
            place = (left / self.width, 1 - (top + height) / total, width / self.width, height / total)
            show(self.figure.add_axes(place), cell)


def show(axes: Any, cell: Picture) -> None:
    """Draw a picture into axes that have its proportions."""
    from matplotlib import patheffects
    from matplotlib.patches import Rectangle

    high, wide = cell.image.shape[:2]
    smooth = "nearest" if cell.nearest else "antialiased"
    axes.imshow(cell.image[..., ::-1], interpolation=smooth, aspect="auto", extent=(0, wide, high, 0))
    axes.set_axis_off()
    for left, top, width, height, colour in cell.boxes:
        axes.add_patch(
            Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=1.2, clip_on=False)
        )
    outline = [patheffects.withStroke(linewidth=1.6, foreground="black")]
    pixels_an_inch = wide / (axes.get_position().width * axes.figure.get_figwidth())
    for text, x, y in _apart(cell.texts, wide, high, pixels_an_inch):
        written = axes.text(x, y, text, color="white", fontsize=SMALL, ha="center", va="center")
        written.set_path_effects(outline)
        written.set_clip_on(True)


def _apart(
    texts: Sequence[tuple[str, float, float]], wide: int, high: int, pixels_an_inch: float
) -> Iterator[tuple[str, float, float]]:
    """Texts moved so that none leaves the picture (names are wider than areas) or covers an earlier one."""
    line = _LINE * pixels_an_inch
    taken: list[tuple[float, float, float]] = []  # x and y of the centre, half the width
    for text, x, y in texts:
        half = min(0.5 * len(text) * _CHARACTER * pixels_an_inch, wide / 2)
        x = float(np.clip(x, half, wide - half))
        inside = [y + k * line for k in (0, 1, -1) if line / 2 <= y + k * line <= high - line / 2]
        free = [
            place
            for place in inside
            if all(abs(place - v) >= line or abs(x - u) >= half + other for u, v, other in taken)
        ]
        if taken and not free:
            continue  # no room: its colour must do
        y = (free or inside or [y])[0]
        taken.append((x, y, half))
        yield text, x, y


def labelled(
    image: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    palette: Sequence[tuple[int, int, int]] = (),
) -> Picture:
    """A label map as a picture: ``pictures.overlay``, with class names written on the areas.

    image (H, W, 3) uint8 BGR, labels (H, W) with 255 for void, names of the classes, their colours (red,
    green, blue; default: VOC's). Names make it readable without telling the palette's colours apart;
    background, which shows the photograph, goes unnamed.
    """
    given = palette_of(palette)
    painted = np.asarray(full_palette(given).max(axis=1) > 0)
    named = np.where(painted[labels], labels, IGNORE)
    texts = list(_class_texts(named, names))
    return Picture(
        pictures.overlay(image, labels, given), texts, legend=pictures.legend_of([labels], names, given)
    )


def palette_of(colours: Sequence[tuple[int, int, int]]) -> np.ndarray | None:
    """Colours (red, green, blue) as ``pictures`` takes them; None, which is VOC's, for none."""
    return np.array(colours, np.uint8) if len(colours) else None


def _class_texts(labels: np.ndarray, names: Sequence[str]) -> Iterator[tuple[str, float, float]]:
    """Each class's name where it has most room around it; the largest area first."""
    import cv2

    areas = np.bincount(labels.ravel(), minlength=len(names))[: len(names)]
    for label in np.argsort(-areas, kind="stable"):
        if areas[label] < _SMALLEST_NAMED * labels.size:
            continue
        inside = (labels == label).astype(np.uint8)
        room = cv2.distanceTransform(
            cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3
        )
        y, x = np.unravel_index(int(room.argmax()), room.shape)
        yield names[label], float(x), float(y)


def changed(image: np.ndarray, changes: pictures.Changes) -> Picture:
    """``pictures.changed`` as a cell."""
    kinds = [kind for kind, mask in changes.kinds() if mask.any()]
    return Picture(pictures.changed(image, changes), legend=kinds)


def heat(values: np.ndarray, low: float, high: float, name: str) -> Picture:
    """Numbers (H, W) as colours of a matplotlib colour map from ``low`` to ``high``."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours = ScalarMappable(Normalize(low, high), name).to_rgba(values, bytes=True)
    return Picture(np.ascontiguousarray(colours[..., 2::-1]))
