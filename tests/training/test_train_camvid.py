"""Training of the CamVid net on a small made-up set: samples, scores, the choice of the snapshot."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from caffe_gp import engines, proto
from caffe_gp.caffe.solver import Solver
from caffe_gp.errors import DataError, NetError
from caffe_gp.models.camvid import MEAN
from caffe_gp.models.camvid import camvid as deployed
from caffe_gp.training import camvid as training_of_camvid
from caffe_gp.training import trainer
from tests.training import training_files


@pytest.fixture
def camvid(tmp_path, monkeypatch):
    """A root with a set in CamVid's layout: 8 images for training, 2 for validation, none for test."""
    random = np.random.RandomState(0)
    for part, count in (("train", 8), ("val", 2)):
        for folder in (part, f"{part}annot"):
            (tmp_path / "camvid" / folder).mkdir(parents=True)
        for k in range(count):
            # Labels 0..11, 11 for void, in blocks that are as bright as their label.
            labels = np.kron(random.permutation(12).reshape(3, 4), np.ones((30, 30), int)).astype(np.uint8)
            grey = labels * 20 + random.randint(0, 10, labels.shape)
            picture = np.stack([grey] * 3, axis=2).astype(np.uint8)
            Image.fromarray(picture).save(str(tmp_path / "camvid" / part / f"{k}.png"))
            Image.fromarray(labels).save(str(tmp_path / "camvid" / f"{part}annot" / f"{k}.png"))
    monkeypatch.setenv("CAFFE_GP_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def prototxts(tmp_path):
    """The recipe with two crops of 56 x 56 and a snapshot every third iteration."""
    solver = training_of_camvid.solver()
    solver.snapshot = 3
    net = training_of_camvid.train_net(batch=2, crop=56)
    return training_files.write(tmp_path / "prototxt", train=net, deploy=deployed(), solver=solver)


def test_the_best_snapshot_becomes_the_weights(camvid, prototxts, tmp_path, monkeypatch):
    """Scores are made up: the second of four snapshots is the best, and is kept although others follow."""
    scores = iter([0.2, 0.5, 0.4, 0.3])
    judged = []
    validate = training_of_camvid.validate

    def made_up(deploy, weights, data, quiet):
        matrix = validate(deploy, weights, data, quiet)
        if weights.name != "candidate.caffemodel":
            return matrix
        assert len(data.ids) == 2
        judged.append(weights.read_bytes())
        return type("Scored", (), {"mean_iu": next(scores)})()

    monkeypatch.setattr(training_of_camvid, "validate", made_up)
    out = tmp_path / "out"
    record = training_of_camvid.train(prototxts, out, steps=11, quiet=True)
    assert record["scores"] == [(3, 0.2), (6, 0.5), (9, 0.4), (11, 0.3)] and record["chosen_iteration"] == 6
    assert (out / "camvid.caffemodel").read_bytes() == judged[1] != judged[3]
    kept = sorted(path.name for path in (out / "training").glob("*.solverstate"))
    assert kept == [f"camvid_iter_{n}.solverstate" for n in (11, 6, 9)]
    saved = json.loads((out / "training.json").read_text())
    assert saved["validation"]["images"] == 2 and 0 <= saved["validation"]["mean_iu"] <= 1
    assert saved["data"]["images"] == 8 and set(saved["validation"]["iu"]) >= {"sky", "bicyclist"}


def test_a_resumed_run_is_the_uninterrupted_one(camvid, prototxts, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    whole = training_of_camvid.train(prototxts, tmp_path / "whole", steps=6, quiet=True)

    step = Solver.step

    def dies(self, iterations):
        if self.iter == 4:
            raise MemoryError
        step(self, iterations)

    with monkeypatch.context() as patch:
        patch.setattr(Solver, "step", dies)
        with pytest.raises(MemoryError):
            training_of_camvid.train(prototxts, tmp_path / "resumed", steps=6, quiet=True)
    resumed = training_of_camvid.train(prototxts, tmp_path / "resumed", steps=6, quiet=True)
    assert resumed["loss"] == whole["loss"] and resumed["scores"] == whole["scores"]
    assert resumed["sha256"] == whole["sha256"]


def test_the_data_layer_gives_the_samples_in_order(camvid, prototxts):
    net = engines.load_caffe("torch").Net(str(prototxts / "train.prototxt"), 0)
    layer = net.layers[0]
    layer.position = 6
    net.forward(end="data")
    for i in range(2):
        image, labels = layer.crops.sample(6 + i)
        expected = (image - np.float32(MEAN)).transpose(2, 0, 1)
        assert np.array_equal(net.blobs["data"].data[i], expected)
        # The labels of every second pixel, from one of the first two on.
        given = net.blobs["label"].data[i, 0]
        assert any(np.array_equal(given, labels[a::2, b::2]) for a in (0, 1) for b in (0, 1))
        assert set(np.unique(labels)) <= {*range(11), 255}
    assert layer.position == 8
    # Every class is as frequent as every other here.
    assert np.allclose(net.blobs["balance"].data, np.eye(11), atol=1e-6)


def test_missing_data_and_damaged_options_are_named(tmp_path, prototxts, monkeypatch):
    monkeypatch.setenv("CAFFE_GP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere.*camvid.*no such folder"):
        training_of_camvid.train(prototxts, tmp_path / "out", quiet=True)
    param = training_of_camvid.train_net()
    param.layer[0].python_param.param_str = '{"data": "camvid-train"}'
    proto.write_text(param, str(tmp_path / "bad.prototxt"))
    with pytest.raises(NetError, match="unusable param_str.*scales"):
        engines.load_caffe("torch").Net(str(tmp_path / "bad.prototxt"), 0)
