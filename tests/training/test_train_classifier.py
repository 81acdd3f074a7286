"""Training of the classifiers as ``make train-lenet`` runs it, made short: files, record, seeds."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.datasets import classification
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.files.hashes import sha256_of
from caffe_gp.models import zoo
from caffe_gp.training import classifier

TEST = 50


@pytest.fixture
def prototxts(project_root, tmp_path, monkeypatch):
    """LeNet's files with a test of one batch; noise for images, whose brightness tells the class."""

    def made(name, root=None):
        random = np.random.RandomState(len(name))
        labels = random.randint(0, 10, TEST if name == "mnist-test" else 5200).astype(np.int64)
        pixels = random.randint(0, 40, (len(labels), 28, 28, 1)) + 20 * labels[:, None, None, None]
        return ClassificationSet(name, zoo.get("lenet").classes, pixels.astype(np.uint8), labels)

    monkeypatch.setattr(classification, "get", made)
    monkeypatch.setenv("CAFFE_GP_ENGINE", "torch")
    folder = tmp_path / "prototxt"
    shutil.copytree(project_root / "prototxt" / "lenet", folder)
    solver = (folder / "solver.prototxt").read_text()
    (folder / "solver.prototxt").write_text(solver.replace("test_iter: 50", "test_iter: 1"))
    return folder


def test_each_seed_leaves_weights_and_a_record_of_its_own(prototxts, tmp_path):
    out = tmp_path / "out"
    first = classifier.train("lenet", prototxts, out, steps=30, quiet=True)
    second = classifier.train("lenet", prototxts, out, steps=3, seed=2, quiet=True)
    assert {path.name for path in out.iterdir()} == {
        *("lenet.caffemodel", "training.json", "lenet_seed2.caffemodel", "training_seed2.json", "training")
    }
    for record, name in ((first, "training.json"), (second, "training_seed2.json")):
        assert json.loads((out / name).read_text()) == json.loads(json.dumps(record))
        assert record["sha256"] == sha256_of(out / record["weights"])
        assert record["data"]["images"] == 200 and record["tuning"]["images"] == 5000
        assert record["test"]["images"] == TEST
    assert (first["seed"], second["seed"]) == (1, 2)
    # The deployed weights are those of the last snapshot, and they have learned to tell brightness.
    with proto.read_weights(str(out / "training" / "lenet_iter_30.caffemodel")) as trained:
        expected = {name: [blob.array() for blob in blobs] for name, blobs in trained if blobs}
    with proto.read_weights(str(out / "lenet.caffemodel")) as deployed:
        found = {name: [blob.array() for blob in blobs] for name, blobs in deployed if blobs}
    assert expected.keys() == found.keys()
    for name, blobs in expected.items():
        assert all(np.array_equal(one, other) for one, other in zip(blobs, found[name]))
    assert first["test"]["accuracy"] > 0.2
    assert first["test"]["correct"] == round(first["test"]["accuracy"] * TEST)


def test_the_same_command_again_trains_no_further(prototxts, tmp_path):
    once = classifier.train("lenet", prototxts, tmp_path / "out", steps=3, quiet=True)
    again = classifier.train("lenet", prototxts, tmp_path / "out", steps=3, quiet=True)
    assert again["sha256"] == once["sha256"] and again["loss"] == once["loss"]
