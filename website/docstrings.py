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

_ROW = re.compile(r"^(?P<name>[A-Za-z_*'][\w*.,' ]*?)(?:  +|: )(?P<text>\S.*)$")
_COLUMNS = re.compile(r"^[A-Za-z_*'][\w*.,' ]*?  +\S")


def markdown(docstring: str) -> str:
    """The text of a docstring with its columns as a list."""
    blocks = re.split(r"\n[ ]*\n", docstring)
    return "\n\n".join(_block(block) for block in blocks)


def _block(block: str) -> str:
    lines = block.split("\n")
    if lines[0].startswith("    "):
        return "\n".join(["```text", *(line[4:] for line in lines), "```"]) if _is_no_code(lines) else _code(lines)
    out: list[str] = []
    for line in lines:
        row = _ROW.match(line) if _COLUMNS.match(line) else None
        if row:
            out += [*_before_a_list(out), f"- `{row['name'].strip()}`: {_text(row['text'])}"]
        elif line.startswith("  ") and any(text.startswith("- ") for text in out):
            out.append(f"    {_text(line.strip())}")
        else:
            # A sentence behind the columns is a paragraph of its own.
            out += ["", _text(line)] if out and out[-1].startswith(("- ", "    ")) else [_text(line)]
    return "\n".join(out)


def _before_a_list(out: list[str]) -> list[str]:
    return [""] if out and not out[-1].startswith(("- ", "    ")) else []


def _is_no_code(lines: list[str]) -> bool:
    return any(re.match(r"    (step \d|\$ |caffe_gp )", line) for line in lines)


def _code(lines: list[str]) -> str:
    return "\n".join(["```python", *(line[4:] for line in lines), "```"])


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
