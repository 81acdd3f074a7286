"""One self-contained HTML page from a Jinja2 template: pictures and plots are embedded in it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp.errors import CaffeGPError
from caffe_gp.files.atomic import write_text
from caffe_gp.report.pictures import png_bytes

TEMPLATES = Path(__file__).resolve().parent / "templates"


def data_uri(image_bgr: np.ndarray) -> str:
    """An (H, W, 3) uint8 BGR image as a ``data:`` address for an <img>."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(image_bgr)).decode("ascii")


def file_uri(path: str | Path) -> str:
    """A PNG file as a ``data:`` address."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")


def render(template: str, **values: Any) -> str:
    """Fill a template of the folder ``templates``. Texts are escaped; an unknown name is an error."""
    try:
        import jinja2
    except ImportError:
        raise CaffeGPError("HTML pages need the Python package jinja2: pip install jinja2") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(TEMPLATES)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = lambda value, digits=2: _number(value, f"+.{digits}f")
    environment.filters["fixed"] = lambda value, digits=2: _number(value, f".{digits}f")
    environment.filters["short"] = lambda value: _number(value, ".3g")
    return environment.get_template(template).render(**values)


def _number(value: float | None, form: str) -> str:
    """A number as text; nothing for None, which stands for "does not occur"."""
    return "" if value is None else format(value, form)


def save_page(path: str | Path, html: str) -> None:
    """Write a page; the file appears only when it is complete."""
    write_text(path, html)
