"""The relatives of guided perturbations: an experiment whose rows are those of single evaluations."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("matplotlib")

from caffe_gp.errors import DataError, UsageError
from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import relatives
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.reproduce import EXPERIMENTS, OF_PAPER, reproduce


@pytest.fixture
def bench(suite, tmp_path, monkeypatch):
    """The small suite, whose own last images are there to choose on."""
    monkeypatch.setattr(relatives, "CORRUPTED", (suite.name,))
    monkeypatch.setattr(relatives, "STRENGTHS", (1, 5))
    chosen = replace(suite, tuning=suite.data)
    return Bench(chosen, tmp_path, limit=5, tuning_limit=3, threads=1, quiet=True)


def test_every_row_is_an_evaluation(bench):
    (page,) = reproduce(["relatives"], bench)
    found = json.loads(page.with_name("results.json").read_text())
    numbers = found["nets"]["small"]
    rows = {row["method"]: row for row in numbers["methods"]}
    (net,) = bench.suite.nets
    eps = numbers["choice"]["eps"]
    assert set(eps) == {"GP", "entropy", "thresholded 0.5", "thresholded 0.9"} and min(eps.values()) > 0
    for method, options, step in (
        ("entropy", {"encoding": "entropy"}, eps["entropy"]),
        ("flip averaged + GP", {"average": ("flip",)}, eps["GP"]),
        ("GP", {}, eps["GP"]),
    ):
        run = bench.run(net, [step], **options)
        assert rows[method]["mean_iu"] == pytest.approx(100 * mean_iu(run.at(step)))
        assert rows[method]["passes"] == run.passes[1]
    assert rows["base"]["mean_iu"] == pytest.approx(100 * mean_iu(bench.run(net, [eps["GP"]]).base))
    flips = bench.run(net, [eps["GP"]], average=("flip",))
    on_top = rows["flip averaged + GP"]["gain_of_gp_on_top"]
    assert on_top["gain"] == pytest.approx(flips.gain(eps["GP"]).points()["gain"])
    assert rows["flip averaged"]["passes"] == 2 and "gain" not in rows["base"]
    corrupted = numbers["corruptions"]
    assert len(corrupted) == 10 and all(rows[0]["method"] == "base" for rows in corrupted.values())
    text = page.with_name("table.md").read_text()
    assert "| two scales averaged + GP | 6 |" in text and "| mean of strength 5 |" in text
    assert page.with_name("relatives.png").is_file()
    again = relatives.run(bench)  # from the records
    assert json.loads(json.dumps(again.numbers["nets"])) == found["nets"]


def test_all_are_the_papers():
    assert "relatives" in EXPERIMENTS and "relatives" not in OF_PAPER and "table1" in OF_PAPER


def test_images_to_choose_on_are_needed(bench):
    bench = replace(bench, suite=replace(bench.suite, tuning=None))
    with pytest.raises(DataError, match="no images to choose parameters on"):
        reproduce(["relatives"], bench)
    with pytest.raises(UsageError, match="no images to choose parameters on"):
        relatives.run(bench)
