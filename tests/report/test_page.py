"""Pages and plots: escaped, complete, standing alone."""

from __future__ import annotations

import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from caffe_gp.report import page, plots


def test_pictures_are_embedded_whole():
    image = np.random.RandomState(0).randint(0, 255, (5, 4, 3)).astype(np.uint8)
    head, code = page.data_uri(image).split(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.array(Image.open(io.BytesIO(base64.b64decode(code))))[..., ::-1], image)


def test_texts_are_escaped_and_unknown_names_refused(tmp_path, monkeypatch):
    (tmp_path / "t.html").write_text(
        "<p>{{ name }}</p>{{ 1.234|signed }} {{ -2|fixed(1) }} {{ 0.012345|short }}"
    )
    monkeypatch.setattr(page, "TEMPLATES", tmp_path)
    assert page.render("t.html", name="<b>&") == "<p>&lt;b&gt;&amp;</p>+1.23 -2.0 0.0123"
    with pytest.raises(jinja2.UndefinedError):
        page.render("t.html")


def test_a_saved_page_is_utf8(tmp_path):
    page.save_page(tmp_path / "sub" / "p.html", "<p>ä</p>")
    assert (tmp_path / "sub" / "p.html").read_bytes() == "<p>ä</p>".encode()


def test_plots_are_one_svg_element():
    drawn = [plots.Line([-1, 0, 1], [1, 2, 3], "first"), plots.Line([0, 1], [2, 2], "second")]
    svg = plots.lines(drawn, "eps", "mean IU", level=2.5, marked=(1, 3))
    assert svg.startswith("<svg") and svg.rstrip().endswith("</svg>") and svg.count("<svg") == 1
    head = svg[: svg.index(">")]
    assert "viewBox" in head and ' width="' not in head and ' height="' not in head
    assert "<metadata>" not in svg
