"""Table 6 and figures 11 and 16 on made-up digits: LeNet's layout with random weights."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from caffe_gp.datasets import classification as sets
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.engines import load_caffe
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.experiments import classifiers, figure11, suites, table6
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.classifiers import Classifier
from caffe_gp.experiments.reproduce import EXPERIMENTS, missing, reproduce
from caffe_gp.files import places
from caffe_gp.models import zoo

LENET = Classifier("lenet", "mnist-train", "mnist-test", (-32.0, 8.0, 64.0), ("ip1",), (98.92, 99.15))
TEST = 30


def digits(name, images):
    """Blobs whose place tells the class, with noise: random weights tell some of them apart."""
    random = np.random.RandomState(len(name))
    labels = random.randint(0, 10, images).astype(np.int64)
    pixels = random.randint(0, 60, (images, 28, 28, 1)).astype(np.uint8)
    for i, label in enumerate(labels):
        pixels[i, 2 + 5 * (label // 2) :, 4 + 10 * (label % 2) :][:6, :9] += 150
    return ClassificationSet(name, zoo.get("lenet").classes, pixels, labels)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    caffe = load_caffe()
    net = caffe.Net(str(zoo.get("lenet").prototxt()), caffe.TEST)
    for seed in (1, 2):
        random = np.random.RandomState(seed)
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] = random.normal(0, 0.06, blob.data.shape)
        net.save(str(folder / f"seed{seed}.caffemodel"))
    return [folder / "seed1.caffemodel", folder / "seed2.caffemodel"]


@pytest.fixture()
def bench(weights, tmp_path, monkeypatch):
    made = {"mnist-train": digits("mnist-train", 5100), "mnist-test": digits("mnist-test", 40)}
    monkeypatch.setattr(classifiers, "CLASSIFIERS", (LENET,))
    monkeypatch.setattr(Classifier, "weights", lambda self: weights)
    monkeypatch.setattr(sets, "get", lambda name, root=None: made[name])
    return Bench(
        suites.get("paper"), tmp_path, quiet=True, command="test", limit=TEST, tuning_limit=20, batch_size=10
    )


def test_table6_is_what_the_runs_say(bench):
    (page,) = reproduce(["table6"], bench)
    results = json.loads(page.with_name("results.json").read_text())
    seeds = results["nets"]["lenet"]["seeds"]
    assert list(seeds) == ["seed1", "seed2"] and results["nets"]["lenet"]["paper"] == [98.92, 99.15]
    assert len(results["nets"]["lenet"]["varied"]["variants"]) == 6
    test = digits("mnist-test", 40).first(TEST)
    for seed in seeds.values():
        assert seed["base"]["images"] == TEST
        gp, row = seed["gp"], seed["variants"][0]
        assert gp["eps"] in (0, 8 / 256, 64 / 256)  # never a negative one
        assert gp["accuracy"] == pytest.approx(seed["base"]["accuracy"] + (gp["fixed"] - gp["broken"]) / TEST)
        assert row["features"] == "ip1"
    runs = results["provenance"]["runs"]
    assert runs["lenet/seed1"]["data"]["train"]["images"] == 100  # 5000 of 5100 are kept for tuning
    assert runs["lenet/seed1"]["data"]["images"]["images"] == len(test)
    assert "Only the first 30 test images" in page.read_text()
    assert (page.parent / "table6_lenet.png").is_file()
    again = reproduce(["table6"], bench)[0].with_name("results.json").read_text()
    assert json.loads(again)["nets"] == results["nets"]


def test_figure11_shows_digits_whose_label_changed(bench):
    (page,) = reproduce(["figure11"], bench)
    results = json.loads(page.with_name("results.json").read_text())
    assert results["eps"] > 0 and len(results["examples"]) > 1
    for one in results["examples"]:
        assert one["base"] != one["after"] and one["truth"] in (one["base"], one["after"])
        assert len(one["neighbours"]) == 3
    assert (page.parent / "figure11.pdf").is_file()


def test_what_is_missing_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "checkout", lambda: tmp_path)
    bench = Bench(suites.get("paper"), tmp_path, data_root=tmp_path)
    text = "\n".join(missing(["table6", "figure11"], bench))
    for part in ("models/lenet: no caffemodel there", "models/cifar10: no", "train-images-idx3", "cifar10"):
        assert part in text, text
    with pytest.raises(CaffeGPError, match="not everything is here"):
        reproduce(["table6"], bench)
    with pytest.raises(DataError, match="no caffemodel"):
        classifiers.CLASSIFIERS[0].weights()


def test_they_belong_to_the_paper_s_suite():
    assert EXPERIMENTS["table6"].paper_only and EXPERIMENTS["figure11"].paper_only
    assert EXPERIMENTS["table6"].title == table6.TITLE and EXPERIMENTS["figure11"].title == figure11.TITLE


def test_the_paper_s_numbers():
    paper = {one.name: one.paper for one in classifiers.CLASSIFIERS}
    assert paper == {"lenet": (98.92, 99.15), "cifar10": (76.31, 76.95)}
    for one in classifiers.CLASSIFIERS:
        assert len(zoo.get(one.name).classes) == 10 and min(one.levels) < 0 < max(one.levels)


def test_another_set_in_place_of_the_published_one(bench, monkeypatch):
    sets_by_name = {"mnist-train": digits("mnist-train", 5100), "folder:copy/test": digits("copy/test", 40)}
    monkeypatch.setattr(sets, "get", lambda name, root=None: sets_by_name[name])
    (page,) = reproduce(["table6"], replace(bench, stand_ins={"mnist-test": "folder:copy/test"}))
    results = json.loads(page.with_name("results.json").read_text())
    assert results["provenance"]["runs"]["lenet/seed1"]["data"]["images"]["name"].startswith("copy/test")
    assert "mnist-test is not the published set" in page.read_text()
