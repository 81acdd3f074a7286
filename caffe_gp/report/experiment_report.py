"""What an experiment leaves: results.json, table.md and index.html, all from one ``Report``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Sequence, Union
from urllib.parse import quote

from caffe_gp.errors import printable
from caffe_gp.files.atomic import write_text
from caffe_gp.files.json_files import write_json
from caffe_gp.report.claims import Claim
from caffe_gp.report.page import embedded, render, save_page
from caffe_gp.report.results_file import SCHEMA
from caffe_gp.report.svg import inline

GOOD, BAD = "good", "bad"
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text and, where it was judged, GOOD or BAD, which a sign and a colour say."""

    text: str
    verdict: str = ""


Row = List[Union[str, Cell]]


@dataclass
class Table:
    """A table of texts; the first column names the rows."""

    title: str
    header: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""

    def add(self, *cells: str | Cell) -> None:
        """Append a row."""
        assert len(cells) == len(self.header), (self.title, cells)
        self.rows.append([cell if isinstance(cell, Cell) else Cell(cell) for cell in cells])

    def markdown(self) -> str:
        """As Markdown; judged cells say it with a sign."""
        words = {GOOD: " ✓", BAD: " **✗**"}
        lines = [f"## {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines += ["| " + " | ".join(self.header) + " |", "|" + "---|" * len(self.header)]
        for row in self.rows:
            cells = (_one_line(cell.text) + words.get(cell.verdict, "") for cell in row)
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Figure:
    """A picture of a report: the files FILE.png or .jpg in its folder, and FILE.svg and .pdf where there are.

    caption   shown with a capital letter; alt: what it shows, for those who cannot see it (default: caption)
    heading   of the figures that begin here
    """

    file: str
    caption: str
    alt: str = ""
    heading: str = ""


@dataclass(frozen=True)
class Closing:
    """What a page ends with: a title, paragraphs and a command to try."""

    title: str
    text: Sequence[str] = ()
    command: str = ""


@dataclass
class Report:
    """Everything that an experiment or a run has to say, in the order of its page.

    name        of the experiment; also its folder
    title       for people
    opening     the figure above everything, if any
    claims      the paper's, each with its verdict
    warnings    sentences that must not be overlooked, such as that weights are stand-ins
    text        paragraphs
    figures     what they show; their files must be in the folder
    tables      the numbers for people: one number a cell, units in the head
    closing     what comes next
    numbers     the same for programs, JSON-ready
    provenance  models, weights' sha256, data, engine, method, code version
    up          address of the page that lists this one
    files       files of the folder to be downloaded
    """

    name: str
    title: str
    claims: list[Claim] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    opening: Figure | None = None
    closing: Closing | None = None
    numbers: dict[str, Any] = field(default_factory=dict)
    provenance: Any = None
    up: str = ""
    files: Sequence[str] = ("results.json", "table.md")

    def write(self, folder: Path) -> list[Path]:
        """Write the three files into ``folder``; each appears only when it is whole. Returns their paths."""
        path = folder / "results.json"
        results = {
            "schema": SCHEMA,
            "task": "experiment",
            "name": self.name,
            "title": self.title,
            "claims": [claim.record() for claim in self.claims],
            "warnings": self.warnings,
            **self.numbers,
            "provenance": self.provenance,
        }
        write_json(path, results)
        return [path, *self.write_page(folder)]

    def write_page(self, folder: Path) -> list[Path]:
        """Write table.md and index.html alone; returns their paths."""
        page = render(
            "report.html",
            report=self,
            opening=None if self.opening is None else _shown(folder, self.opening, "opening"),
            figures=[_shown(folder, one, f"plot{k}") for k, one in enumerate(self.figures)],
            files=self.files,
            provenance=json.dumps(self.provenance, indent=1, ensure_ascii=False),
        )
        paths = [folder / name for name in ("table.md", "index.html")]
        write_text(paths[0], self.markdown())
        save_page(paths[1], page)
        return paths

    def markdown(self) -> str:
        """Title, claims, texts and tables."""
        parts = [f"# {self.title}", *map(_claim_text, self.claims)]
        parts += [*(f"**{warning}**" for warning in self.warnings), *self.text]
        parts += [table.markdown() for table in self.tables]
        parts += [f"![{one.caption}]({one.file}.png)" for one in self.figures]
        return _without_html("\n\n".join(part.rstrip("\n") for part in parts) + "\n")


def _claim_text(claim: Claim) -> str:
    return (
        f"**{claim.verdict.value.capitalize()}**: {claim.text} ({claim.source}). Here {claim.ours}, paper "
        f"{claim.paper} ({claim.measure})."
    )


def _shown(folder: Path, one: Figure, name: str) -> dict[str, Any]:
    """What the template is told of a figure."""
    found = {kind: folder / f"{one.file}.{kind}" for kind in ("svg", "png", "jpg", "pdf")}
    there = [kind for kind, path in found.items() if path.is_file()]
    files = [{"kind": kind.upper(), "href": quote(f"{one.file}.{kind}")} for kind in there]
    # Many begin with the name of a net.
    caption = one.caption[:1].upper() + one.caption[1:]
    shown: dict[str, Any] = {"caption": caption, "heading": one.heading, "files": files, "svg": ""}
    shown["alt"] = one.alt or one.caption
    if "svg" in there:
        return {**shown, "svg": inline(found["svg"].read_text(encoding="utf-8"), name, shown["alt"])}
    return {**shown, **embedded(found["png" if "png" in there else "jpg"])}


def _one_line(text: str) -> str:
    """A name as a cell of a Markdown table holds it."""
    return text.replace("|", "\\|").replace("\n", " ")


def _without_html(markdown: str) -> str:
    """Markdown in which names are names, whatever files they come from: no tags, no control characters."""
    return printable(_TAG.sub(r"\\<", markdown))


def points(value: float, digits: int = 2) -> str:
    """A fraction as percentage points: 0.6471 -> '64.71'."""
    return "" if value != value else f"{100 * value:.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """The same with a sign, for differences."""
    return "" if value != value else f"{100 * value:+.{digits}f}"


def interval(low: float, high: float, digits: int = 2) -> str:
    """Bounds that are fractions, in points: '+1.90 to +3.40'."""
    return f"{signed(low, digits)} to {signed(high, digits)}"


def within(found: float, expected: float, band: float) -> str:
    """GOOD if ``found`` lies within ``band`` of ``expected`` (all in percentage points), else BAD."""
    return GOOD if abs(found - expected) <= band else BAD


def joined(names: Sequence[str]) -> str:
    """'a, b and c'."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
