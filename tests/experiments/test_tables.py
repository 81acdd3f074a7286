"""The tables on a tiny net and drawn images: their numbers against the records, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from caffe_gp.datasets import segmentation
from caffe_gp.errors import CaffeGPError
from caffe_gp.experiments import cells, suites, table1, table2, table3
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.reproduce import EXPERIMENTS, missing, reproduce
from caffe_gp.models import weights
from tests.report.checked_page import checked_page

pytestmark = pytest.mark.engine

CLASSES = 3  # of the fixture "suite"


@pytest.fixture(scope="module")
def bench(suite, tmp_path_factory):
    return Bench(suite, tmp_path_factory.mktemp("reports"), quiet=True, command="test")


def test_every_experiment_leaves_its_report(bench):
    pages = reproduce([name for name in EXPERIMENTS if name.startswith("table")], bench)
    # Table 2 belongs to the paper's suite.
    assert [page.parent.name for page in pages] == ["table1", "table3", "table4", "table5"]
    for page in pages:
        results = json.loads(page.with_name("results.json").read_text())
        assert results["name"] == page.parent.name and results["provenance"]["runs"]
        assert results["title"] in page.read_text() and "|---|" in page.with_name("table.md").read_text()
        assert results["claims"] and list(page.parent.glob("*.svg"))


def test_every_page_is_valid(bench):
    for page in reproduce(["table1", "table3", "table4", "table5"], bench):
        checked_page(page)
    checked_page(bench.out / "index.html")


def test_table1_is_what_the_records_say(bench):
    numbers = table1.run(bench).numbers["nets"]["small"]
    run = bench.run(bench.suite.nets[0], bench.suite.nets[0].grid)
    total = run.base.sum(axis=0)
    hits = np.diag(total)
    expected = np.mean(hits / (total.sum(0) + total.sum(1) - hits))
    assert numbers["base"]["mean_iu"] == pytest.approx(100 * expected)
    assert len(numbers["eps"]) == 5 and set(numbers["eps"]) <= {0.0, 0.1, 0.5, 2.0}


def test_cross_validation_does_not_choose_for_itself(bench):
    """Each image's matrix is that of the eps that was best on the other folds."""
    net = bench.suite.nets[0]
    tuned = bench.tune(net, net.grid)
    run = tuned.run
    for image in range(len(run.ids)):
        candidates = [run.base[image], *(run.at(eps)[image] for eps in run.eps)]
        assert any(np.array_equal(tuned.matrices[image], one) for one in candidates)


def test_what_is_missing_is_said_before_any_work(suite, tmp_path):
    paper = suites.get("paper")
    lacks = missing(["table1"], Bench(paper, tmp_path, data_root=tmp_path))
    text = "\n".join(lacks)
    assert "caffe_gp fetch data voc2012 sbd-lists" in text and "caffe_gp fetch models fcn-32s" in text
    with pytest.raises(CaffeGPError, match="not everything is here"):
        reproduce(["table1"], Bench(paper, tmp_path, data_root=tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert len(missing(["table4"], Bench(paper, tmp_path, data_root=tmp_path))) == 2  # lists, FCN-32s
    with pytest.raises(CaffeGPError, match="unknown experiment 'table9'"):
        reproduce(["table9"], Bench(suite, tmp_path))


def test_the_papers_numbers():
    """Differences that the paper prints in brackets beside its numbers; and its per-class means."""
    printed = {"fcn-32s": 2.6, "fcn-8s": 3.0, "fcn-8s-coco": 2.1, "crfasrnn-coco": 0.8}
    printed.update({"deeplab-vgg16": 2.2, "deeplab-resnet101": 1.2})
    assert {name: round(gp - base, 1) for name, (base, gp) in table1.PAPER.items()} == printed
    assert set(table1.PAPER) == {net.name for net in suites.get("paper").nets}
    for values in (table3.PAPER_BASE, table3.PAPER_GP):
        assert len(values) == 22 and abs(np.mean(values[:21]) - values[21]) < 0.1
    better = sum(after > before for before, after in zip(table3.PAPER_BASE[:21], table3.PAPER_GP[:21]))
    assert better == 19


def test_table2_means(suite, tmp_path, monkeypatch):
    """Over all scores and without background, against the definition by brute force."""
    monkeypatch.setattr(table2, "of_paper", lambda name: replace(suite.nets[0], eps=0.5))
    monkeypatch.setattr(table2, "DATA", suite.data)
    bench = Bench(suite, tmp_path, quiet=True)
    means = table2.run(bench).numbers["means"]
    data = segmentation.get(suite.data)
    run = bench.run(suite.nets[0], [0.5])
    assert len(data) == len(run.ids)
    total = run.base.sum(axis=0)
    for name, first in (("60 scores", 0), ("59 classes", 1)):
        kept = total[first:]
        ious = [
            total[c, c] / (total[c].sum() + kept[:, c].sum() - total[c, c]) for c in range(first, CLASSES)
        ]
        assert means[name]["base"] == pytest.approx(100 * np.mean(ious))


def test_stand_in_weights_are_said_beside_every_number(monkeypatch, tmp_path):
    file = weights.find("fcn-32s")
    monkeypatch.setitem(weights.released(), file.name, replace(file, stand_in=True))
    paper = suites.get("paper")
    titles = {net.name: net.title for net in paper.nets}
    assert [name for name, title in titles.items() if "(stand-in weights)" in title] == ["fcn-32s"]
    bench = Bench(paper, tmp_path)
    monkeypatch.setattr(Bench, "data", lambda self: SimpleNamespace(ids=["an image"] * 346))
    (warning,) = cells.warnings(bench, paper.nets)
    assert "Stand-in weights" in warning and "fcn-32s" in warning and "fcn-8s" not in warning
