"""Small tables and label maps as HTML, for notebooks (``_repr_html_``)."""

from __future__ import annotations

import base64
import html
import io
from typing import Sequence

import numpy as np
from PIL import Image

from caffe_gp.images.label_maps import full_palette
from caffe_gp.images.placing import nearest

_MOST_ROWS = 20
_LONGER_SIDE = 240  # pixels of a picture


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A title above a table; of many rows the first ones."""
    cells = [_row("th", head), *(_row("td", row) for row in rows[:_MOST_ROWS])]
    more = f"<div>and {len(rows) - _MOST_ROWS} more</div>" if len(rows) > _MOST_ROWS else ""
    return f"<div><div>{html.escape(title)}</div><table>{''.join(cells)}</table>{more}</div>"


def pictures(maps: Sequence[tuple[str, np.ndarray]]) -> str:
    """Label maps (H, W) side by side in VOC's colours, each below its name."""
    figures = [
        "<div style='display:inline-block;margin:4px'>"
        f"<div>{html.escape(name)}</div><img alt='' src='data:image/png;base64,{_png(labels)}'></div>"
        for name, labels in maps
    ]
    return f"<div>{''.join(figures)}</div>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _png(labels: np.ndarray) -> str:
    high, wide = labels.shape
    factor = min(1.0, _LONGER_SIDE / max(high, wide))
    shown = nearest(labels, (max(1, round(high * factor)), max(1, round(wide * factor))))
    picture = Image.fromarray(shown.astype(np.uint8))
    picture.putpalette(full_palette(None).tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")
