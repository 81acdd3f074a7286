"""Names of other people's files in pages, tables and figures are shown as they are, and do nothing."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Verdict
from caffe_gp.report.experiment_report import Closing, Figure, Report, Table
from caffe_gp.report.pictures import save_png

NAME = "<script>alert(1)</script> | \x1b[2J\nx"


def test_a_page_and_a_table(tmp_path):
    table = Table(NAME, ["a", NAME], note=NAME)
    table.add(NAME, "1 < 2")
    claim = Claim(NAME, NAME, NAME, NAME, NAME, Verdict.OPEN, NAME)
    report = Report("name", NAME, [claim], [NAME], [NAME], [table], provenance={"data": NAME})
    save_png(tmp_path / "one.png", np.zeros((4, 4, 3), np.uint8))
    report.figures, report.closing = [Figure("one", NAME, NAME, NAME)], Closing(NAME, [NAME], NAME)
    paths = report.write(tmp_path)
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    assert "<script>" not in texts["index.html"] and "&lt;script&gt;" in texts["index.html"]
    assert "\x1b" not in texts["table.md"] and "| 1 < 2 |" in texts["table.md"]
    assert r"| \<script>alert(1)\</script> \| \x1b[2J x |" in texts["table.md"]


@pytest.mark.parametrize("name", [r"$\frac{$", r"a_$b^{^$", "$$", NAME.replace("\x1b", "")])
def test_a_figure(tmp_path, name):
    pytest.importorskip("matplotlib", "3.6")  # older ones take what stands between two $ for a formula
    picture = figures.Picture(np.zeros((8, 8, 3), np.uint8))
    sheet = figures.sheet([figures.PictureRow([picture], name, (name,), name)])
    figures.save(sheet, tmp_path, "sheet")
    assert (tmp_path / "sheet.png").stat().st_size and (tmp_path / "sheet.pdf").stat().st_size
