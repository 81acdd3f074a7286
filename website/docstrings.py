"""Our docstrings as Markdown: an extension of griffe, which mkdocstrings reads the code with.

They are plain text, with columns where arguments or fields are named:

    images   (N, C, H, W) float32, what the net expects
    eps      one step size or a list
             in units of the blob

which becomes a list. Examples are indented by four and stay as they are, as does everything else.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_NAME = r"[A-Za-z_*'][\w*.,' ]*?"
_ROW = re.compile(rf"({_NAME})  +(\S.*)")


def markdown(docstring: str) -> str:
    """The text of a docstring with its columns as a list."""
    blocks = re.split(r"\n[ ]*\n", docstring)
    return "\n\n".join(_block(block) for block in blocks)


def _block(block: str) -> str:
    lines = block.split("\n")
    if lines[0].startswith("    "):
        language = "text" if re.match(r"    (step \d|\$ |caffe_gp )", lines[0]) else "python"
        return "\n".join([f"```{language}", *(line[4:] for line in lines), "```"])
    column = next((row.start(2) for row in map(_ROW.fullmatch, lines) if row), 0)
    out: list[str] = []
    for line in lines:
        row = _ROW.fullmatch(line) or _as_long_as_the_column(line, column)
        if row:
            out += [*_before_a_list(out), f"- `{row[1].strip()}`: {_text(row[2])}"]
        elif line.startswith("  ") and any(text.startswith("- ") for text in out):
            out.append(f"    {_text(line.strip())}")
        else:
            # A sentence behind the columns is a paragraph of its own.
            out += ["", _text(line)] if out and out[-1].startswith(("- ", "    ")) else [_text(line)]
    return "\n".join(out)


def _as_long_as_the_column(line: str, column: int) -> re.Match[str] | None:
    """A row whose name leaves one blank before the column."""
    return re.fullmatch(rf"(\w{{{column - 1}}}) (\S.*)", line) if column > 1 else None


def _before_a_list(out: list[str]) -> list[str]:
    return [""] if out and not out[-1].startswith(("- ", "    ")) else []


def _text(text: str) -> str:
    """A line without reStructuredText's marks; what Markdown would take for one is text."""
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    text = text[:-1] if text.endswith("::") else text
    return re.sub(r"(?<![`*\w])\*(?=[\w(])(?![^`]*`)", r"\\*", text)


class Columns(griffe.Extension):
    """Rewrites every docstring that is loaded."""

    def on_object(self, *, obj: griffe.Object, **options: Any) -> None:
        """Called once for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
