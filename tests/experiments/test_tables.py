"""The tables on a tiny net and drawn images: their numbers against the records, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from caffe_gp import proto
from caffe_gp.datasets import segmentation
from caffe_gp.engine import load_caffe
from caffe_gp.errors import CaffeGPError
from caffe_gp.experiments import suites, table1, table2, table3
from caffe_gp.experiments.context import Context
from caffe_gp.experiments.reproduce import EXPERIMENTS, missing, reproduce
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.models.builder import Builder

CLASSES = 3


def small_net():
    """conv1, pool1, conv2 and back to the image's size."""
    net = Builder("small", (1, 3, 24, 32))
    net.conv_relu("conv1", "data", 6, 3, "relu1", pad=1)
    net.max_pool("pool1", "conv1", 2, 2)
    net.conv("fc", "pool1", CLASSES, 3, pad=1)
    net.deconv("up", "fc", CLASSES, 4, stride=2, pad=[1])
    return net.param


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A suite of one net with random weights, measured on ten drawn images."""
    folder = tmp_path_factory.mktemp("suite")
    random = np.random.RandomState(0)
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for i in range(10):
        labels = np.kron(random.randint(0, CLASSES, (3, 4)), np.ones((8, 8), int)).astype(np.uint8)
        labels[:2] = 255
        pixels = np.clip(60 * labels[..., None] + random.normal(0, 40, (24, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{i}.png")
        Image.fromarray(labels).save(folder / f"labels/{i}.png")
    prototxt, weights = folder / "small.prototxt", folder / "small.caffemodel"
    proto.write_text(small_net(), prototxt)
    caffe = load_caffe()
    net = caffe.Net(str(prototxt), caffe.TEST)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = random.normal(0, 0.15, blob.data.shape)
    net.save(str(weights))
    entry = Net(
        name="small",
        title="small net",
        prototxt=lambda: prototxt,
        caffemodel=lambda: weights,
        score="up",
        feed={"mean": (100.0,) * 3, "scale": 0.05},
        grid=(0.1, 0.5, 2.0),
        inner=("pool1",),
    )
    data = f"folder:{folder / 'images'}:{folder / 'labels'}:{CLASSES}"
    return Suite("test", "a small net", data, None, (entry,), "small", {"small": "crfrnn"})


@pytest.fixture(scope="module")
def context(suite, tmp_path_factory):
    return Context(suite, tmp_path_factory.mktemp("reports"), quiet=True, command="test")


def test_every_experiment_leaves_its_report(context):
    pages = reproduce([name for name in EXPERIMENTS if name.startswith("table")], context)
    # Table 2 belongs to the paper's suite.
    assert [page.parent.name for page in pages] == ["table1", "table3", "table4", "table5"]
    for page in pages:
        results = json.loads(page.with_name("results.json").read_text())
        assert results["name"] == page.parent.name and results["provenance"]["runs"]
        assert results["title"] in page.read_text() and "|---|" in page.with_name("table.md").read_text()


def test_table1_is_what_the_records_say(context):
    numbers = table1.run(context).numbers["nets"]["small"]
    run = context.run(context.suite.nets[0], context.suite.nets[0].grid)
    total = run.base.sum(axis=0)
    hits = np.diag(total)
    expected = np.mean(hits / (total.sum(0) + total.sum(1) - hits))
    assert numbers["base"]["mean_iu"] == pytest.approx(100 * expected)
    assert len(numbers["eps"]) == 5 and set(numbers["eps"]) <= {0.0, 0.1, 0.5, 2.0}


def test_cross_validation_does_not_choose_for_itself(context):
    """Each image's matrix is that of the eps that was best on the other folds."""
    net = context.suite.nets[0]
    tuned = context.tune(net, net.grid)
    run = tuned.run
    for image in range(len(run.ids)):
        candidates = [run.base[image], *(run.at(eps)[image] for eps in run.eps)]
        assert any(np.array_equal(tuned.matrices[image], one) for one in candidates)


def test_what_is_missing_is_said_before_any_work(suite, tmp_path):
    paper = suites.get("paper")
    lacks = missing(["table1"], Context(paper, tmp_path, data_root=tmp_path))
    text = "\n".join(lacks)
    assert "tools/fetch_data.py voc2012 sbd-lists" in text and "tools/fetch_models.py fcn-32s" in text
    with pytest.raises(CaffeGPError, match="not everything is here"):
        reproduce(["table1"], Context(paper, tmp_path, data_root=tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert len(missing(["table4"], Context(paper, tmp_path, data_root=tmp_path))) == 2  # lists, FCN-32s
    with pytest.raises(CaffeGPError, match="unknown experiment 'table9'"):
        reproduce(["table9"], Context(suite, tmp_path))


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
    monkeypatch.setattr(table2, "of_zoo", lambda name: replace(suite.nets[0], eps=0.5))
    monkeypatch.setattr(table2, "DATA", suite.data)
    context = Context(suite, tmp_path, quiet=True)
    means = table2.run(context).numbers["means"]
    data = segmentation.get(suite.data)
    run = context.run(suite.nets[0], [0.5])
    assert len(data) == len(run.ids)
    total = run.base.sum(axis=0)
    for name, first in (("60 scores", 0), ("59 classes", 1)):
        kept = total[first:]
        ious = [
            total[c, c] / (total[c].sum() + kept[:, c].sum() - total[c, c]) for c in range(first, CLASSES)
        ]
        assert means[name]["base"] == pytest.approx(100 * np.mean(ious))
