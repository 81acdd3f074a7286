"""BVLC Caffe from a Python session, such as a notebook's: what would end the process is an EngineError."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp import GuidedPerturbation, engines, load_net
from caffe_gp.errors import EngineError, WeightsError

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(engines.resolve() != "bvlc", reason="needs BVLC Caffe (CAFFE_GP_ENGINE=bvlc)"),
]
NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: KERNEL weight_filler { type: "xavier" } } }
MORE
"""
FLAT = """
layer { name: "r" type: "Reshape" bottom: "conv" top: "score"
        reshape_param { shape { dim: 1 dim: 4 dim: 6 dim: 6 } } }
"""


def write(tmp_path, kernel=3, more=""):
    path = tmp_path / "net.prototxt"
    path.write_text(NET.replace("KERNEL", str(kernel)).replace("MORE", more))
    return path


def test_a_net_that_cannot_be_built(tmp_path):
    path = write(tmp_path, more='layer { name: "n" type: "NoSuchLayer" bottom: "conv" top: "score" }')
    with pytest.raises(EngineError, match="NoSuchLayer"):
        load_net(path, engine="bvlc", score="score")
    with pytest.raises(EngineError, match="BVLC Caffe stopped at .*Check failed"):
        load_net(write(tmp_path, kernel=0), engine="bvlc")


def test_a_backward_that_is_not_there(tmp_path):
    """ArgMax has none: Caffe finds out when it gets there."""
    more = 'layer { name: "a" type: "ArgMax" bottom: "conv" top: "a" argmax_param { axis: 1 } }' + (
        'layer { name: "s" type: "Convolution" bottom: "a" top: "score" '
        'convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }'
    )
    with pytest.raises(EngineError, match="BVLC Caffe stopped at"):
        load_net(write(tmp_path, more=more), engine="bvlc", score="score")


def test_images_of_a_size_that_does_not_fit(tmp_path):
    loaded = load_net(write(tmp_path, more=FLAT), engine="bvlc")
    gp = GuidedPerturbation(loaded)
    random = np.random.RandomState(0)
    images = random.normal(size=(1, 3, 8, 8)).astype(np.float32)
    before = gp(images, eps=0.1)
    for _ in range(2):
        with pytest.raises(EngineError, match="BVLC Caffe stopped at .*reshape"):
            gp(random.normal(size=(1, 3, 9, 9)).astype(np.float32), eps=0.1)
    after = gp(images, eps=0.1)  # the net is as it was
    np.testing.assert_array_equal(after.confidence, before.confidence)
    loaded.net.blobs["data"].reshape(1, 3, 10, 10)
    for call in (loaded.net.forward, loaded.net.reshape):
        with pytest.raises(EngineError, match="BVLC Caffe stopped at"):
            call()


def test_weights_that_do_not_fit(tmp_path):
    loaded = load_net(write(tmp_path, kernel=3), engine="bvlc")
    loaded.net.save(str(tmp_path / "w.caffemodel"))
    other = load_net(write(tmp_path, kernel=2), engine="bvlc")
    with pytest.raises(EngineError, match="shape mismatch"):
        other.net.copy_from(str(tmp_path / "w.caffemodel"))
    with pytest.raises(WeightsError, match="conv"):
        load_net(write(tmp_path, kernel=2), tmp_path / "w.caffemodel", engine="bvlc")
    other.net.forward()
