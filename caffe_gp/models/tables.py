"""The table of docs/models.md, from the zoo and the manifest of weights."""

from __future__ import annotations

from caffe_gp.images.preprocess import Preprocess
from caffe_gp.models import weights, zoo

MARKER = "<!-- models -->"


def filled(document: str) -> str:
    """The text of the document with the table after its marker as it is to be."""
    before, after = document.split(f"{MARKER}\n")
    rest = after[after.index("\n\n") :] if after.startswith("|") else f"\n{after}"
    return f"{before}{MARKER}\n{models()}{rest}"


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
                _weights(model),
            )
        )
    head = ("--model", "net", "classes", "scores", "input", "eps", "parameters", "weights")
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _weights(model: zoo.Model) -> str:
    if model.weights is None:
        return f"none released; [trained here](../models/{model.name}/README.md)"
    limit = ", non-commercial use only" if weights.find(model.name).non_commercial else ""
    return f"`{model.weights}`{limit}"


def _feed(feed: Preprocess) -> str:
    parts = ["mean " + ", ".join(f"{value:g}" for value in feed.mean)]
    if feed.scale != 1:
        parts.append(f"scale 1/{1 / feed.scale:g}")
    if feed.channel_order != "bgr":
        parts.append(feed.channel_order)
    if isinstance(feed.resize, int):
        parts.append(f"longer side resized to {feed.resize}")
    elif feed.resize:
        parts.append(f"resized to {feed.resize[0]} x {feed.resize[1]}")
    if feed.pad_to:
        parts.append(f"padded to {feed.pad_to[0]} x {feed.pad_to[1]}")
    return "; ".join(parts)
