"""An experiment's three files: the same numbers in each, judged cells, the claims first, figures inside."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Verdict, above_zero, in_cases, overall
from caffe_gp.report.experiment_report import (
    BAD,
    GOOD,
    Cell,
    Closing,
    Figure,
    Report,
    Table,
    joined,
    points,
    signed,
    within,
)
from caffe_gp.report.index import write_index
from caffe_gp.report.pictures import save_png
from tests.report.checked_page import checked_page

CLAIM = Claim("It <helps>.", "Table 1", "gain (points)", "+2.6", "+1.5", Verdict.WEAKLY, "By rule.")


def lines():
    with figures.style():
        figure = figures.new(2, figures.PLOT)
        axes = figure.add_subplot(1, 1, 1)
        axes.plot([0, 1], [1, 2], "o-", color="#0072B2", label="A & B")
        axes.legend()
    return figure


@pytest.fixture
def report(tmp_path):
    table = Table("Numbers", ["net", "base (%)", "gain (points)"], note="All <made up>.")
    table.add("FCN", Cell("64.71", GOOD), Cell("+1.00", BAD))
    save_png(tmp_path / "picture.png", np.zeros((400, 3000, 3), np.uint8))
    for name in ("curve", "other"):
        figures.save(lines(), tmp_path, name, figures.CURVES)
    report = Report("t", "A & B", [CLAIM], ["One."], ["Beware."], [table])
    report.figures = [Figure("picture", "A picture", "What it shows"), Figure("curve", "A curve", "<A>")]
    report.figures.append(Figure("other", "Another"))
    report.closing = Closing("What next", ["Try."], "a command")
    report.numbers, report.provenance = {"base": 64.71}, {"engine": "torch"}
    return report


def test_the_three_files(tmp_path, report):
    results, markdown, page = report.write(tmp_path)
    found = json.loads(results.read_text())
    assert found["base"] == 64.71 and found["provenance"] == {"engine": "torch"}
    assert found["warnings"] == ["Beware."] and Claim.of_record(found["claims"][0]) == CLAIM
    assert "| FCN | 64.71 ✓ | +1.00 **✗** |" in markdown.read_text()
    assert "**Holds weakly**: It \\<helps>." in markdown.read_text()
    html = page.read_text()
    assert '<td class="good">64.71 ' in html and '<td class="bad">+1.00 ' in html
    assert "A &amp; B" in html and "&lt;made up&gt;" in html and "Beware." in html
    assert 'href="curve.pdf"' in html and "It &lt;helps&gt;." in html


def test_the_page_is_valid_and_in_order(tmp_path, report):
    page = report.write(tmp_path)[-1]
    root = checked_page(page)
    text = page.read_text()
    order = [
        "A &amp; B</h1>",
        "Holds weakly",
        "Beware.",
        "A picture",
        "Numbers</h2>",
        "What next",
        "<details>",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.index("engine&#34;: &#34;torch") > text.index("<details>") and "<details open" not in text
    (image,) = root.iter("img")
    assert (
        image.get("width") == "1200" and image.get("height") == "160" and image.get("alt") == "What it shows"
    )
    assert text.count("<svg") == 2 and "#000000" not in text[text.index("<svg") :]


def test_the_index_of_a_folder(tmp_path, report):
    other = Report("figure9", "Nothing judged", provenance={})
    folder = tmp_path / "suite"
    for one in (Report("t", "Title <1>", [CLAIM], warnings=["Only 3."]), other):
        (folder / one.name).mkdir(parents=True)
        save_png(folder / one.name / "figure.png", np.zeros((40, 900, 3), np.uint8))
        one.write(folder / one.name)
    (folder / "table9").mkdir()
    (folder / "table9" / "results.json").write_text("{}")  # of an earlier version
    page = write_index(folder, "All", ["table9", "t", "figure9", "table8"])
    root = checked_page(page)
    assert [link.get("href") for link in root.iter("a")] == ["t/index.html", "figure9/index.html"]
    assert len(list(root.iter("img"))) == 2
    text = page.read_text()
    assert "2 tables and figures (1 holds weakly, 1 not judged)" in text and "Only 3." in text


def gain(low, value, high):
    return SimpleNamespace(low=low, gain=value, high=high)


def test_verdicts_follow_their_rules():
    assert above_zero([gain(0.1, 0.5, 0.9)])[0] is Verdict.HOLDS
    assert above_zero([gain(-0.1, 0.5, 0.9)])[0] is Verdict.WEAKLY
    assert above_zero([gain(-2.6, -1.6, 0.2)])[0] is Verdict.NOT
    assert above_zero([gain(0.1, 0.5, 0.9), gain(-0.1, 0.5, 0.9)])[0] is Verdict.WEAKLY
    assert above_zero([gain(0.1, 0.5, 0.9), gain(-0.1, 0.0, 0.9)])[0] is Verdict.NOT
    assert [in_cases(met, 4, "")[0] for met in (4, 3, 2)] == [Verdict.HOLDS, Verdict.WEAKLY, Verdict.NOT]
    of = {verdict: Claim("", "", "", "", "", verdict, "") for verdict in Verdict}
    assert overall([]) is Verdict.OPEN and overall([of[Verdict.OPEN]]) is Verdict.OPEN
    assert overall([of[Verdict.HOLDS], of[Verdict.OPEN]]) is Verdict.HOLDS
    assert overall([of[Verdict.HOLDS], of[Verdict.NOT]]) is Verdict.WEAKLY
    assert overall([of[Verdict.NOT]] * 2) is Verdict.NOT


def test_numbers_as_text():
    assert points(0.6471) == "64.71" and signed(-0.004) == "-0.40" and points(float("nan")) == ""
    assert within(64.41, 64.71, 0.31) == GOOD and within(64.3, 64.71, 0.3) == BAD
    assert joined(["a"]) == "a" and joined(["a", "b", "c"]) == "a, b and c"
