"""What an experiment leaves: results.json, table.md and index.html, all from one ``Report``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Sequence, Union

from caffe_gp.errors import printable
from caffe_gp.files.atomic import write_text
from caffe_gp.files.json_files import write_json
from caffe_gp.report.page import file_uri, render, save_page
from caffe_gp.report.results_file import SCHEMA

GOOD, BAD = "good", "bad"
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text and, where it was judged, GOOD (green) or BAD (red)."""

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
        """As Markdown; judged cells say it in a word, since there are no colours."""
        words = {GOOD: " (green)", BAD: " **(red)**"}
        lines = [f"## {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines += ["| " + " | ".join(self.header) + " |", "|" + "---|" * len(self.header)]
        for row in self.rows:
            cells = (_one_line(cell.text) + words.get(cell.verdict, "") for cell in row)
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


@dataclass
class Report:
    """Everything that an experiment has to say.

    name        of the experiment; also its folder
    title       for people
    text        paragraphs under the title
    warnings    sentences that must not be overlooked, such as that weights are stand-ins
    tables      the numbers for people
    figures     (file without suffix, caption); ``write`` expects FILE.png and FILE.pdf in the folder
    numbers     the same for programs, JSON-ready
    provenance  models, weights' sha256, data, engine, method, code version
    """

    name: str
    title: str
    text: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[tuple[str, str]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    provenance: Any = None

    def write(self, folder: Path) -> list[Path]:
        """Write the three files into ``folder``; each appears only when it is whole. Returns their paths."""
        path = folder / "results.json"
        results = {
            "schema": SCHEMA,
            "task": "experiment",
            "name": self.name,
            "title": self.title,
            "warnings": self.warnings,
            **self.numbers,
            "provenance": self.provenance,
        }
        write_json(path, results)
        return [path, *self.write_page(folder)]

    def write_page(self, folder: Path) -> list[Path]:
        """Write table.md and index.html alone; returns their paths."""
        pictures = [
            {"uri": file_uri(folder / f"{file}.png"), "pdf": f"{file}.pdf", "caption": caption}
            for file, caption in self.figures
        ]
        page = render(
            "experiment.html",
            report=self,
            pictures=pictures,
            provenance=json.dumps(self.provenance, indent=1, ensure_ascii=False),
        )
        paths = [folder / name for name in ("table.md", "index.html")]
        write_text(paths[0], self.markdown())
        save_page(paths[1], page)
        return paths

    def markdown(self) -> str:
        """Title, texts and tables."""
        warnings = [f"**{warning}**" for warning in self.warnings]
        parts = [f"# {self.title}", *self.text, *warnings, *(table.markdown() for table in self.tables)]
        parts += [f"![{caption}]({file}.png)" for file, caption in self.figures]
        return _without_html("\n\n".join(part.rstrip("\n") for part in parts) + "\n")


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


def within(found: float, expected: float, band: float) -> str:
    """GOOD if ``found`` lies within ``band`` of ``expected`` (all in percentage points), else BAD."""
    return GOOD if abs(found - expected) <= band else BAD


def joined(names: Sequence[str]) -> str:
    """'a, b and c'."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
