"""Pages and plots: escaped, complete, standing alone."""

from __future__ import annotations

import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from caffe_gp.report import figures, page, svg


def test_pictures_are_embedded_at_a_screen_s_size():
    image = np.zeros((300, 2400, 3), np.uint8)
    image[:, :1200] = (0, 60, 200)
    found = page.embedded_picture(image)
    head, code = found["uri"].split(",")
    assert head == "data:image/jpeg;base64" and (found["width"], found["height"]) == (1200, 150)
    picture = np.array(Image.open(io.BytesIO(base64.b64decode(code))))
    assert picture.shape == (150, 1200, 3)
    assert np.abs(picture[75, 300].astype(int) - (200, 60, 0)).max() < 6 and picture[75, 900].max() < 6


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


def test_a_plot_is_one_svg_element_in_the_page_s_colour(tmp_path):
    with figures.style():
        figure = figures.new(2, figures.PLOT)
        figure.add_subplot(1, 1, 1).plot([0, 1], [0, 1], color="#0072B2", label="first")
    figures.save(figure, tmp_path, "plot", figures.CURVES)
    found = svg.inline((tmp_path / "plot.svg").read_text(), "p1", "Two & three")
    assert found.startswith("<svg") and found.rstrip().endswith("</svg>") and found.count("<svg") == 1
    head = found[: found.index(">")]
    assert "viewBox" in head and ' width="' not in head and ' height="' not in head
    assert '<title id="p1-title">Two &amp; three</title>' in found and 'aria-labelledby="p1-title"' in head
    assert "<metadata>" not in found and "#000000" not in found and "currentColor" in found
    assert "<text" in found and "#0072b2" in found
