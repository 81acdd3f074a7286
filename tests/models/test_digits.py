"""The digits net: its sizes, how it is fed, and the folding of its batch normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import WeightsError
from caffe_gp.models import zoo
from caffe_gp.models.digits import digits
from caffe_gp.training import digits as training
from tests.models.normalised_nets import as_net, check_folding, made_up, params_of

RNG = np.random.RandomState(0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The training net with made-up weights and statistics."""
    return made_up(training.train_net(), digits(), tmp_path_factory.mktemp("net"))


def test_folded_net_computes_what_the_trained_net_does(trained, tmp_path):
    folded = training.fold(params_of(trained))
    check_folding(trained, digits(), folded, tmp_path, ("conv1_2", "pool4", "fc7", "score"))


def test_folding_by_hand(trained):
    params = params_of(trained)
    weight, bias = training.fold(params)["conv2_1"]
    (w,), (mean, variance, _), (gamma, beta) = (
        params["conv2_1"],
        params["bn_conv2_1"],
        params["scale_conv2_1"],
    )
    x = RNG.normal(0, 1, (w.shape[1] * 9,)).astype(np.float64)
    for k in (0, 7):
        normal = (w[k].reshape(-1) @ x - mean[k] / 4) / np.sqrt(variance[k] / 4 + 1e-5)
        assert weight[k].reshape(-1) @ x + bias[k] == pytest.approx(gamma[k] * normal + beta[k], rel=1e-5)


def test_incomplete_weights_are_refused(trained):
    params = params_of(trained)
    with pytest.raises(WeightsError, match="'scale_fc6' is missing"):
        training.fold({name: arrays for name, arrays in params.items() if name != "scale_fc6"})
    params["bn_fc7"][2][...] = 0
    with pytest.raises(WeightsError, match="'bn_fc7' has seen no batch"):
        training.fold(params)


@pytest.mark.parametrize("height, width", [(96, 96), (97, 131), (120, 65), (16, 33)])
def test_scores_have_the_images_size(tmp_path, height, width):
    net = as_net(digits(), tmp_path, "deploy.prototxt")
    net.blobs["data"].reshape(1, 3, height, width)
    net.forward()
    assert net.blobs["score"].data.shape == (1, 11, height, width)


def test_upsampling_is_bilinear_and_keeps_the_classes_apart(tmp_path):
    net = as_net(digits(), tmp_path, "deploy.prototxt")
    for name, kernel in (("upscore2", 4), ("upscore8", 16)):
        (weight,) = [blob.data for blob in net.params[name]]
        # FCN's surgery: (1 - |i - centre| / factor) in both directions, one kernel a class.
        factor = kernel // 2
        profile = 1 - np.abs(np.arange(kernel) - (factor - 0.5)) / factor
        assert weight.shape == (11, 1, kernel, kernel)
        assert np.allclose(weight, np.outer(profile, profile), atol=1e-6)


def test_it_is_fed_bgr_minus_its_mean():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 1, 0] = (125, 118, 104)  # red, green, blue
    out = zoo.get("digits").feed.batch(image)
    assert out.shape == (1, 3, 2, 2) and out.dtype == np.float32 and out.flags.c_contiguous
    assert out[0, :, 1, 0].tolist() == [0, 1, 2] and out[0, :, 0, 0].tolist() == [-104, -117, -123]
