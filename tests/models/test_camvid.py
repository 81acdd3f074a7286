"""The CamVid net: its sizes, layers, and the folding of its batch normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.models import batchnorm
from caffe_gp.models.camvid import NORMALISED, camvid, camvid_bn
from caffe_gp.surgery.crops import align_legacy_crops
from caffe_gp.training import camvid as training
from caffe_gp.training.camvid_bn import measure
from tests.models.normalised_nets import as_net, check_folding, made_up, params_of


def test_folded_net_computes_what_the_trained_net_does(tmp_path):
    trained = made_up(training.train_net(), camvid(), tmp_path)
    folded = training.fold(params_of(trained))
    check_folding(trained, camvid(), folded, tmp_path, ("conv1", "conv4_4", "join2", "score_half"))


@pytest.fixture
def folded(tmp_path):
    """The deployed net with random weights, scaled so that values stay of one size from layer to layer."""
    net, random = as_net(camvid(), tmp_path, "folded.prototxt"), np.random.RandomState(0)
    for name, blobs in net.params.items():
        for blob in blobs if name != "upscore" else ():
            inputs = blob.data[0].size if blob.data.ndim == 4 else 4
            blob.data[...] = random.normal(0, np.sqrt(2 / inputs), blob.data.shape)
    return net


def statistics_of(net, seed):
    image = np.random.RandomState(seed).normal(0, 50, (1, 3, 48, 64)).astype(np.float32)
    return image, measure(net, NORMALISED, iter([image]))


def test_unfolded_net_computes_what_the_folded_does(folded, tmp_path):
    """With the statistics of its convolutions on any image; and fold() is the way back."""
    unfolded = batchnorm.unfold(params_of(folded), statistics_of(folded, 0)[1])
    check_folding(folded, camvid_bn(), unfolded, tmp_path, ("conv1", "conv4_4", "join2", "score"))
    again = training.fold(unfolded)
    for name in NORMALISED:
        for one, other in zip(again[name], folded.params[name]):
            assert np.allclose(one, other.data, rtol=1e-4, atol=1e-4)


def test_measured_statistics_are_those_of_batch_normalisation(folded, tmp_path):
    """On the image that they were measured on BatchNorm finds the same ones."""
    image, statistics = statistics_of(folded, 1)
    own = camvid_bn()
    for layer in own.layer:
        if layer.type == "BatchNorm":
            layer.batch_norm_param.use_global_stats = False
    net = as_net(own, tmp_path, "own.prototxt")
    for name, arrays in batchnorm.unfold(params_of(folded), statistics).items():
        for blob, values in zip(net.params[name], arrays):
            blob.data[...] = values
    for each in (folded, net):
        each.blobs["data"].reshape(*image.shape)
        each.blobs["data"].data[...] = image
        each.forward()
    expected = folded.blobs["score"].data
    assert np.abs(net.blobs["score"].data - expected).max() < 1e-4 * np.abs(expected).max()


def test_upsampling_is_bilinear(tmp_path):
    trained = made_up(training.train_net(), camvid(), tmp_path)
    # Caffe's own filler, in the net as it is before weights are loaded.
    net = as_net(camvid(), tmp_path, "deploy.prototxt")
    assert np.array_equal(training.fold(params_of(trained))["upscore"][0], net.params["upscore"][0].data)


@pytest.mark.parametrize("height, width", [(360, 480), (97, 131), (120, 65), (17, 33)])
def test_scores_have_the_images_size(tmp_path, height, width):
    net = as_net(camvid(), tmp_path, "deploy.prototxt")
    net.blobs["data"].reshape(1, 3, height, width)
    net.forward()
    assert net.blobs["score"].data.shape == (1, 11, height, width)


def test_crops_line_up_with_the_image():
    """Every offset is the one that aligns the Crop's bottoms by Caffe's rule for coordinates."""
    expected, param = camvid(), camvid()
    crops = [layer for layer in param.layer if layer.type == "Crop"]
    for layer in crops:
        layer.ClearField("crop_param")
    align_legacy_crops(param, [])
    assert len(crops) == 4 and param == expected


def test_only_layers_of_bvlc_caffe():
    used = {layer.type for layer in camvid().layer}
    assert used == {"Input", "Convolution", "ReLU", "Pooling", "Deconvolution", "Crop", "Eltwise"}
