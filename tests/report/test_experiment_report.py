"""An experiment's three files: the same numbers in each, judged cells, figures inside the page."""

from __future__ import annotations

import json

import numpy as np

from caffe_gp.report.experiment_report import BAD, GOOD, Cell, Report, Table, joined, points, signed, within
from caffe_gp.report.pictures import save_png


def test_the_three_files(tmp_path):
    table = Table("Numbers", ["net", "base", "gain"], note="All <made up>.")
    table.add("FCN", Cell("64.71", GOOD), Cell("+1.00", BAD))
    save_png(tmp_path / "curve.png", np.zeros((4, 4, 3), np.uint8))
    report = Report("t", "A & B", ["One."], ["Beware."], [table], [("curve", "A curve")])
    report.numbers, report.provenance = {"base": 64.71}, {"engine": "torch"}
    results, markdown, page = report.write(tmp_path)
    found = json.loads(results.read_text())
    assert found["base"] == 64.71 and found["provenance"] == {"engine": "torch"}
    assert found["warnings"] == ["Beware."]
    assert "| FCN | 64.71 (green) | +1.00 **(red)** |" in markdown.read_text()
    html = page.read_text()
    assert '<td class="good">64.71</td>' in html and '<td class="bad">+1.00</td>' in html
    assert "A &amp; B" in html and "&lt;made up&gt;" in html and "data:image/png;base64," in html
    assert 'href="curve.pdf"' in html and "Beware." in html


def test_numbers_as_text():
    assert points(0.6471) == "64.71" and signed(-0.004) == "-0.40" and points(float("nan")) == ""
    assert within(64.41, 64.71, 0.31) == GOOD and within(64.3, 64.71, 0.3) == BAD
    assert joined(["a"]) == "a" and joined(["a", "b", "c"]) == "a, b and c"
