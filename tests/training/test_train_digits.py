"""Training of the digits net: it learns, stops on Ctrl-C with a snapshot and goes on from it."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.models import zoo
from caffe_gp.models.digits import digits as deployed
from caffe_gp.python_layers import digit_scenes
from caffe_gp.training import digits, snapshots, trainer
from tests.training import training_files


@pytest.fixture
def prototxts(tmp_path):
    """The recipe with batches of two and a snapshot every third iteration."""
    solver = digits.solver()
    solver.snapshot = 3
    net = digits.train_net(batch=2)
    return training_files.write(tmp_path / "prototxt", train=net, deploy=deployed(), solver=solver)


@pytest.fixture
def seen(monkeypatch):
    """The first scene of every batch that the data layer gave; and the batches at which Ctrl-C comes."""
    positions, interrupt_at = [], set()
    forward = digit_scenes.DigitScenesLayer.forward

    def noted(self, bottom, top):
        positions.append(self.position)
        if len(positions) in interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        forward(self, bottom, top)

    monkeypatch.setattr(digit_scenes.DigitScenesLayer, "forward", noted)
    return positions, interrupt_at


def test_interrupted_training_goes_on_where_it_stopped(prototxts, tmp_path, monkeypatch, seen):
    positions, interrupt_at = seen
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    monkeypatch.setattr(digits, "VALIDATION_SCENES", 4)
    out = tmp_path / "out"
    interrupt_at.add(5)
    with pytest.raises(KeyboardInterrupt):
        digits.train(prototxts, out, steps=8, quiet=True)
    # The fifth iteration was finished and kept; nothing else was written.
    assert snapshots.newest(out / "training" / "digits").name == "digits_iter_5.solverstate"
    assert positions == [0, 2, 4, 6, 8] and not (out / "digits.caffemodel").exists()

    record = digits.train(prototxts, out, steps=8, quiet=True)
    assert positions[5:] == [10, 12, 14]
    assert [iteration for iteration, _ in record["loss"]] == list(range(1, 9))
    assert sorted(path.name for path in (out / "training").glob("*.solverstate")) == [
        "digits_iter_6.solverstate",
        "digits_iter_8.solverstate",
    ]
    saved = json.loads((out / "training.json").read_text())
    assert saved["steps"] == 8 and len(saved["sha256"]) == 64 and saved["validation"]["scenes"] == 4
    weights = {name for name, _ in proto.read_weights(str(out / "digits.caffemodel"))}
    assert {"conv1_1", "fc7", "score_pool3", "upscore8"} <= weights and "bn_conv1_1" not in weights

    # A finished run does not train on.
    digits.train(prototxts, out, steps=8, quiet=True)
    assert len(positions) == 8


def test_the_loss_falls(prototxts, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "LOG_EVERY", 1)
    monkeypatch.setattr(digits, "VALIDATION_SCENES", 2)
    record = digits.train(prototxts, tmp_path / "out", steps=30, quiet=True)
    losses = [loss for _, loss in record["loss"]]
    # It starts near log(11) = 2.40 and soon knows that most pixels are background.
    assert 2.0 < losses[0] < 3.0
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_the_data_layer_gives_the_scenes_in_order(tmp_path):
    from caffe_gp import engines

    proto.write_text(digits.train_net(batch=3), str(tmp_path / "train.prototxt"))
    net = engines.load_caffe("torch").Net(str(tmp_path / "train.prototxt"), 0)
    net.layers[0].position = 30
    net.forward(end="data")
    images, labels = DigitScenes("train").batch(range(30, 33))
    assert np.array_equal(net.blobs["data"].data, zoo.get("digits").feed.batch(images[..., ::-1]))
    assert np.array_equal(net.blobs["label"].data[:, 0], labels)
