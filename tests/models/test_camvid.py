"""The CamVid net: its sizes, layers, and the folding of its batch normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.models.camvid import camvid
from caffe_gp.surgery.crops import align_legacy_crops
from caffe_gp.training import camvid as training
from tests.models.normalised_nets import as_net, check_folding, made_up, params_of


def test_folded_net_computes_what_the_trained_net_does(tmp_path):
    trained = made_up(training.train_net(), camvid(), tmp_path)
    folded = training.fold(params_of(trained))
    check_folding(trained, camvid(), folded, tmp_path, ("conv1", "conv4_4", "join2", "score_half"))


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
