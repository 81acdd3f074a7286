"""The tables of docs/models.md, from the zoo and the manifest of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from caffe_gp.models import weights, zoo

DOCUMENT = zoo.ROOT / "docs" / "models.md"


def filled(document: Path = DOCUMENT) -> str:
    """The text of the document with the tables after its markers as they are to be."""
    text = document.read_text(encoding="utf-8")
    for marker, table in (("<!-- models -->", models()), ("<!-- weights -->", weights_files())):
        before, after = text.split(f"{marker}\n")
        rest = after[after.index("\n\n") :] if after.startswith("|") else f"\n{after}"
        text = f"{before}{marker}\n{table}{rest}"
    return text


def models() -> str:
    """A row for every model."""
    rows = []
    for model in zoo.MODELS.values():
        rows.append(
            (
                f"`{model.name}`",
                model.title,
                str(len(model.classes)),
                f"`{model.score}`",
                _feed(model.feed),
                model.eps_source if model.eps is None else f"{model.eps:g}: {model.eps_source}",
                f"{model.parameters:,}",
                f"`{model.weights}`" if model.weights else "none released",
            )
        )
    return _table(("--model", "net", "classes", "scores", "input", "eps", "parameters", "weights"), rows)


def weights_files() -> str:
    """A row for every file of the manifest."""
    rows = []
    for file in weights.MANIFEST.values():
        scores = "; ".join(f"{score.mean_iu:g} on {score.on} ({score.source})" for score in file.scores)
        licence = f"**on request**: {file.licence}" if file.non_commercial else file.licence
        rows.append((f"`{file.name}`", licence, scores or "not known", file.source))
    return _table(("file", "licence", "mean IU", "from"), rows)


def _feed(feed: zoo.Feed) -> str:
    parts = ["mean " + ", ".join(f"{value:g}" for value in feed.mean)]
    if feed.scale != 1:
        parts.append(f"scale 1/{1 / feed.scale:g}")
    if feed.channel_order != "bgr":
        parts.append(feed.channel_order)
    if feed.resize:
        parts.append(f"resized to {feed.resize[0]} x {feed.resize[1]}")
    if feed.pad_to:
        parts.append(f"padded to {feed.pad_to[0]} x {feed.pad_to[1]}")
    return "; ".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
