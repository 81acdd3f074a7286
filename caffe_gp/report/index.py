"""The page that lists the reports of a folder: a thumbnail, the claims and their verdicts of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from caffe_gp.errors import DataError
from caffe_gp.files.json_files import read_object
from caffe_gp.report.claims import Claim, Verdict, overall
from caffe_gp.report.page import embedded, render, save_page

_THUMBNAIL = 480  # pixels


def write_index(folder: Path, title: str, names: Sequence[str]) -> Path:
    """Write ``folder/index.html`` of the reports ``folder/NAME`` that are there; returns its path.

    names   in the order of the page
    """
    entries = [entry for name in names for entry in _entries(folder, name)]
    verdicts = [entry["verdict"] for entry in entries]
    counted = [(verdict, verdicts.count(verdict)) for verdict in Verdict]
    counts = ", ".join(f"{count} {verdict.value}" for verdict, count in counted if count)
    of_pages = f"{len(entries)} tables and figures" if len(entries) != 1 else "one table or figure"
    text = f"What the paper claims and what was found: {of_pages} ({counts})."
    path = folder / "index.html"
    save_page(path, render("index.html", title=title, counts=text, entries=entries))
    return path


def _entries(folder: Path, name: str) -> list[dict[str, Any]]:
    """The report of a name, or none where it is not there or of an earlier version."""
    try:
        results = read_object(folder / name / "results.json", "it is a report's")
        claims = [Claim.of_record(record) for record in results["claims"]]
        title, warnings = str(results["title"]), list(results["warnings"])
    except (DataError, KeyError, TypeError, ValueError):
        return []
    entry: dict[str, Any] = {"href": f"{name}/index.html", "title": title, "claims": claims}
    entry.update(warnings=warnings, verdict=overall(claims), uri="", width=0, height=0)
    pictures = sorted((folder / name).glob("*.png"), key=lambda path: (len(path.name), path.name))
    return [{**entry, **(embedded(pictures[0], _THUMBNAIL) if pictures else {})}]
