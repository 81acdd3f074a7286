"""The same bits run after run, and the same numbers whatever the batch (R35)."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import caffe_gp.caffe as caffe
from caffe_gp import engines
from caffe_gp.caffe import mode
from caffe_gp.errors import EngineError, NetError
from caffe_gp.models import weights, zoo
from tests.evaluation import tiny_run


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.delenv(mode._CUBLAS_VARIABLE, raising=False)
    yield
    caffe.set_deterministic(False)


def test_torchs_switches():
    assert not mode.engine_description()["deterministic"]
    engines.load_caffe("torch", deterministic=True)
    assert torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.deterministic
    assert mode.os.environ[mode._CUBLAS_VARIABLE] == ":4096:8"
    engines.load_caffe("torch")  # whoever does not ask leaves it as it is
    assert engines.describe("torch")["deterministic"] is True


def test_algorithms_are_timed_for_one_size_unless_results_must_repeat(tmp_path):
    tiny_run.make_net(tmp_path)
    data = tiny_run.make_data(tmp_path, 1)
    for options, wanted in (
        ({"resize": (32, 32)}, True),
        ({"pad_to": (40, 40)}, True),
        ({}, False),
        ({"resize": 32}, False),
        ({"resize": (32, 32), "deterministic": True}, False),
    ):
        tiny_run.settings(tmp_path, data, tmp_path / "out", **options).resolve().open_net()
        assert torch.backends.cudnn.benchmark is wanted, options


def test_what_cannot_be_is_refused(monkeypatch):
    monkeypatch.setenv(mode._CUBLAS_VARIABLE, ":8:1")
    with pytest.raises(EngineError, match="CUBLAS_WORKSPACE_CONFIG=':8:1'.*:4096:8 or :16:8"):
        caffe.set_deterministic(True)
    monkeypatch.delenv(mode._CUBLAS_VARIABLE)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(EngineError, match="before the first net"):
        caffe.set_deterministic(True)


def test_a_layer_without_a_deterministic_way_is_named(monkeypatch):
    from caffe_gp.caffe.layers.pooling import PoolingLayer

    def forward(*blobs):
        raise RuntimeError("max_pool_cuda does not have a deterministic implementation, but you set ...")

    net = engines.load_net(zoo.get("lenet").prototxt()).net
    monkeypatch.setattr(PoolingLayer, "forward", forward)
    with pytest.raises(NetError, match="layer 'pool1'.*no deterministic way to do this: compute on the CPU"):
        net.forward()


def test_label_maps_bit_for_bit(tmp_path):
    """Two processes, two threads each."""
    tiny_run.make_net(tmp_path)
    tiny_run.make_data(tmp_path, 4)
    files = ["--prototxt", str(tmp_path / "net.prototxt"), "--caffemodel", str(tmp_path / "net.caffemodel")]
    options = ["--images", str(tmp_path / "images"), "--eps", "0.5", "-1", "--threads", "2", "--quiet"]
    command = [sys.executable, "-m", "caffe_gp", "run", *files, *options, "--deterministic", "--out"]
    for name in ("a", "b"):
        subprocess.run([*command, str(tmp_path / name)], check=True)
    pictures = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.png"))
    assert len(pictures) >= 8
    for path in pictures:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
    assert json.loads((tmp_path / "a" / "provenance.json").read_text())["engine"]["deterministic"] is True


@pytest.mark.parametrize("name, size", [("digits", (3, 120, 160)), ("lenet", (1, 28, 28))])
def test_one_image_and_many_agree(name, size):
    """Forward and backward, within what float32 sums may differ by in another order."""
    loaded = engines.load_net(zoo.get(name).prototxt(), weights.require(name))
    net, images = loaded.net, np.random.RandomState(0).uniform(-1, 1, (5, *size)).astype(np.float32)
    images *= 100 if name == "digits" else 1

    def pass_of(batch):
        net.blobs[loaded.data].reshape(*batch.shape)
        net.blobs[loaded.data].data[...] = batch
        net.forward()
        score = net.blobs[loaded.score]
        score.diff[...] = np.cos(np.arange(score.data[0].size)).reshape(score.data[0].shape)
        net.backward(start=loaded.net._layer_names[_maker(net, loaded.score)])
        return score.data.copy(), net.blobs[loaded.data].diff.copy()

    together = pass_of(images)
    alone = [np.concatenate(one) for one in zip(*(pass_of(image[np.newaxis]) for image in images))]
    for found, expected in zip(together, alone):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def _maker(net, blob):
    return max(i for i, tops in enumerate(net.top_names.values()) if blob in tops)
