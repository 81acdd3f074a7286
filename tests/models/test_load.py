"""A net by its name, loaded in one call: it computes what the parts do that it is made of."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from caffe_gp import engines
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.errors import CaffeGPError, WeightsError
from caffe_gp.files import places
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.models import zoo
from caffe_gp.models.load import load_model


def test_digits(project_root, tmp_path):
    """Ten validation scenes: labelled as well as the record says, and better with GP."""
    digits = load_model("digits")
    assert digits.eps == 4.0 and digits.classes[:2] == ("background", "0") and digits.model.name == "digits"
    right = {"base": 0, "gp": 0}
    for i in range(10):
        image, truth = DigitScenes("val").scene(i)
        Image.fromarray(image[..., ::-1]).save(str(tmp_path / "scene.png"))
        canvas = digits.preprocess.load(tmp_path / "scene.png")
        result = GuidedPerturbation(digits.net)(canvas.data[np.newaxis], [digits.eps])
        for name, labels in (("base", result.base_labels[0]), ("gp", result.labels[0][0])):
            right[name] += np.count_nonzero(digits.preprocess.labels_to_image(labels, canvas) == truth)
    record = json.loads((project_root / "models/digits/training.json").read_text())
    measured = record["validation"]["pixel_accuracy"]
    assert right["base"] / (10 * truth.size) == pytest.approx(measured, abs=0.03)
    assert right["gp"] > right["base"]


def test_lenet(tmp_path):
    """A grey image of another size becomes the net's 1 x 28 x 28, pixel / 256."""
    lenet = load_model("lenet", caffemodel=places.shipped("models", "lenet", "lenet_seed2.caffemodel"))
    assert lenet.eps is None and lenet.classes == tuple("0123456789")
    assert lenet.net.caffemodel.endswith("lenet_seed2.caffemodel")
    Image.fromarray(np.full((56, 56), 128, np.uint8)).save(str(tmp_path / "grey.png"))
    data = lenet.preprocess.load(tmp_path / "grey.png").data
    assert data.shape == (1, 28, 28) and np.all(data == 0.5)
    plain = engines.load_net(str(zoo.get("lenet").prototxt()), lenet.net.caffemodel)
    for loaded in (lenet.net, plain):
        loaded.net.blobs["data"].data[...] = data
        loaded.net.forward()
    assert np.array_equal(lenet.net.net.blobs["ip2"].data, plain.net.blobs["ip2"].data)


def test_errors(tmp_path, monkeypatch):
    with pytest.raises(CaffeGPError, match="unknown model 'digit'; did you mean digits"):
        load_model("digit")
    monkeypatch.setenv("CAFFE_GP_MODELS", str(tmp_path))
    with pytest.raises(WeightsError, match="caffe_gp fetch models fcn-32s"):
        load_model("fcn-32s")
