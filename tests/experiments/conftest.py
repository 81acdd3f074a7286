"""A small net with random weights and drawn images, for every experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import numpy as np
import pytest
from _pytest.monkeypatch import MonkeyPatch  # pytest 6.0, which Debian 11 has, does not export it
from PIL import Image

from caffe_gp import proto
from caffe_gp.engines import load_caffe
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.files import places
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.models import zoo
from caffe_gp.models.builder import Builder
from caffe_gp.proto import messages as pb

CLASSES, HIGH, WIDE, IMAGES = 3, 48, 64, 10


def small_net() -> pb.NetParameter:
    """Scores at a quarter of the image's size, interpolated and cropped like FCN's."""
    net = Builder("small", (1, 3, HIGH, WIDE))
    net.conv_relu("conv1", "data", 6, 3, "relu1", pad=1)
    net.max_pool("pool1", "conv1", 2, 2)
    net.conv_relu("conv2", "pool1", 8, 3, "relu2", pad=1)
    net.max_pool("pool2", "conv2", 2, 2)
    net.conv("fc", "pool2", CLASSES, 3, pad=1)
    net.deconv("up", "fc", CLASSES, 8, stride=4)
    net.crop("score", "up", "data", offset=2)
    return net.param


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite of one net with random weights, measured on ten drawn images."""
    folder = tmp_path_factory.mktemp("suite")
    random = np.random.RandomState(0)
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for i in range(IMAGES):
        labels = np.kron(random.randint(0, CLASSES, (3, 4)), np.ones((16, 16), int)).astype(np.uint8)
        labels[:2] = 255
        noise = random.normal(0, 40, (HIGH, WIDE, 3))
        pixels = np.clip(60 * labels[..., None] + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{i}.png")
        Image.fromarray(labels).save(folder / f"labels/{i}.png")
    model = zoo.Model(
        name="small",
        title="small net",
        net=small_net,
        score="score",
        classes=tuple("012"),
        parameters=0,
        weights=None,
        eps=None,
        eps_source=zoo.UNTUNED,
        feed=Preprocess(mean=(100.0,) * 3, scale=0.05),
    )
    entry = Net(model, grid=(0.1, 0.5, 2.0), inner=("pool1",), deeper=("pool2",), span=0.5)
    with MonkeyPatch().context() as patch:
        # A checkout that has the net.
        patch.setattr(places, "checkout", lambda: folder)
        patch.setitem(zoo.MODELS, "small", model)
        _write_small(model.prototxt(), folder / "models" / "small" / "small.caffemodel", random)
        data = f"folder:{folder / 'images'}:{folder / 'labels'}:{CLASSES}"
        yield Suite("test", "a small net", data, None, (entry,), "small", {"small": "crfrnn"})


def _write_small(prototxt: Path, weights: Path, random: np.random.RandomState) -> None:
    """The net's files, with random weights and bilinear upsampling."""
    prototxt.parent.mkdir(parents=True)
    weights.parent.mkdir(parents=True)
    proto.write_text(small_net(), prototxt)
    caffe = load_caffe()
    net = caffe.Net(str(prototxt), caffe.TEST)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = random.normal(0, 0.15, blob.data.shape)
    line = (np.arange(8) + 0.5) / 4
    triangle = np.minimum(line, 2 - line)
    net.params["up"][0].data[...] = np.eye(CLASSES)[:, :, None, None] * np.outer(triangle, triangle)
    net.save(str(weights))
