"""One self-contained HTML page from a Jinja2 template: pictures and plots are embedded in it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from caffe_gp.errors import CaffeGPError
from caffe_gp.files.atomic import write_text
from caffe_gp.report import pictures

TEMPLATES = Path(__file__).resolve().parent / "templates"


def embedded(path: str | Path, largest: int = pictures.LARGEST) -> dict[str, Any]:
    """A picture's file for an <img>: ``uri``, a JPEG inside the page, with ``width`` and ``height``."""
    return embedded_picture(read_picture(path), largest)


def read_picture(path: str | Path) -> np.ndarray:
    """A picture that was written here, (H, W, 3) uint8 BGR."""
    with Image.open(str(path)) as opened:
        return np.ascontiguousarray(np.asarray(opened.convert("RGB"))[..., ::-1])


def embedded_picture(image_bgr: np.ndarray, largest: int = pictures.LARGEST) -> dict[str, Any]:
    """The same of an (H, W, 3) uint8 BGR image. None is wider than ``largest``, whatever its height."""
    height, width = image_bgr.shape[:2]
    scale = min(1.0, largest / width)
    size = max(1, round(scale * height)), max(1, round(scale * width))
    return {"uri": data_uri(pictures.resize(image_bgr, size)), "height": size[0], "width": size[1]}


def data_uri(image_bgr: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 BGR inside a page, as a JPEG: no file, and no address to ask for."""
    return "data:image/jpeg;base64," + base64.b64encode(pictures.jpeg_bytes(image_bgr)).decode("ascii")


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
