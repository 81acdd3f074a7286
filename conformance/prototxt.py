"""Layers as prototxt text."""

from __future__ import annotations

from typing import Mapping, Sequence


def dims(shape: Sequence[int]) -> str:
    return " ".join("dim: %d" % size for size in shape)


def input_layer(blobs: Mapping[str, Sequence[int]]) -> str:
    """One Input layer for several blobs."""
    return 'layer {{ name: "input" type: "Input" {} input_param {{ {} }} }}'.format(
        " ".join(f'top: "{name}"' for name in blobs),
        " ".join(f"shape {{ {dims(shape)} }}" for shape in blobs.values()),
    )


def layer(
    name: str, kind: str, bottoms: Sequence[str] | str, tops: Sequence[str] | str, extra: str = ""
) -> str:
    """One layer's text. ``bottoms`` and ``tops`` are blob names, or one string of names between blanks."""
    bottoms = bottoms.split() if isinstance(bottoms, str) else bottoms
    tops = tops.split() if isinstance(tops, str) else tops
    blobs = [f'bottom: "{b}"' for b in bottoms] + [f'top: "{t}"' for t in tops]
    return 'layer {{ name: "{}" type: "{}" {} {} }}'.format(name, kind, " ".join(blobs), extra)
