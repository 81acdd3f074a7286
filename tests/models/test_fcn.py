"""FCN and CRF-RNN: parameter counts, sizes of every blob, crops, names."""

from __future__ import annotations

import gc

import pytest

from caffe_gp.models import zoo
from caffe_gp.surgery import crops
from caffe_gp.surgery.prepare import prepare
from tests.models import nets_of_the_zoo as nets

# Counts of the released files, from their descriptions by hand.
PARAMETERS = {
    "fcn-32s": 136_152_917,
    "fcn-16s": 134_815_994,
    "fcn-8s": 134_489_759,
    "fcn-8s-atonce": 134_489_759 + 512 + 256,
    "fcn-alexnet": 58_704_590,
    "fcn-8s-context": 135_589_364,
    "fcn-8s-coco": 134_489_759 + 21,
    "crfasrnn-coco": 134_491_103,
}
POOLS = ("pool1", "pool2", "pool3", "pool4", "pool5")


@pytest.mark.parametrize("name, expected", PARAMETERS.items())
def test_parameter_count(name, expected):
    net = nets.load(zoo.get(name).net(), 8, 8)
    assert sum(blob.count for blobs in net.params.values() for blob in blobs) == expected
    assert zoo.get(name).parameters == expected
    del net
    gc.collect()  # half a gigabyte each


@pytest.fixture(scope="module")
def narrow():
    """Nets with few channels, by name; each built once."""
    built = {}

    def get(name):
        if name not in built:
            built[name] = nets.load(nets.narrow(name))
        return built[name]

    return get


# n: conv1_1, pool1..5, fc6 and what is upsampled, of an image of n x n.
TRUNK = {
    500: (698, 349, 175, 88, 44, 22, 16),
    375: (573, 287, 144, 72, 36, 18, 12),
    334: (532, 266, 133, 67, 34, 17, 11),
    333: (531, 266, 133, 67, 34, 17, 11),
}
HEADS_8S = {500: (34, 70, 568), 375: (26, 54, 440), 334: (24, 50, 408), 333: (24, 50, 408)}


@pytest.mark.parametrize("n, upscore", [(500, 544), (375, 416), (334, 384), (333, 384)])
def test_sizes_of_fcn32s(narrow, n, upscore):
    net = narrow("fcn-32s")
    nets.reshape(net, n, n)
    assert tuple(nets.sizes(net, "conv1_1", *POOLS, "fc6")) == TRUNK[n]
    assert nets.sizes(net, "fc7", "score_fr", "upscore", "score") == [TRUNK[n][-1]] * 2 + [upscore, n]


@pytest.mark.parametrize("n", TRUNK)
@pytest.mark.parametrize("name", ["fcn-8s", "fcn-8s-atonce", "fcn-8s-context"])
def test_sizes_of_fcn8s(narrow, name, n):
    net = narrow(name)
    nets.reshape(net, n, n)
    assert tuple(nets.sizes(net, "conv1_1", *POOLS, "fc6")) == TRUNK[n]
    assert tuple(nets.sizes(net, "upscore2", "upscore_pool4", "upscore8")) == HEADS_8S[n]
    up2, up_pool4, _ = HEADS_8S[n]
    assert nets.sizes(net, "score_pool4c", "fuse_pool4", "score_pool3c", "fuse_pool3", "score") == [
        up2, up2, up_pool4, up_pool4, n,
    ]  # fmt: skip


@pytest.mark.parametrize("n", TRUNK)
def test_sizes_of_fcn16s(narrow, n):
    net = narrow("fcn-16s")
    nets.reshape(net, n, n)
    up2 = HEADS_8S[n][0]
    assert nets.sizes(net, "upscore2", "fuse_pool4", "upscore16", "score") == [up2, up2, 16 * up2 + 16, n]


@pytest.mark.parametrize("name, score", [("fcn-8s-coco", "coarse"), ("crfasrnn-coco", "pred")])
def test_sizes_of_crfasrnn(narrow, name, score):
    net = narrow(name)
    nets.reshape(net, 500, 500)
    assert tuple(nets.sizes(net, "conv1_1", *POOLS, "fc6")) == TRUNK[500]
    assert tuple(nets.sizes(net, "score", "score2", "score4", "bigscore", score)) == (16, 34, 70, 568, 500)


def test_sizes_of_fcn_alexnet(narrow):
    """By hand: conv1 (500 + 200 - 11) / 4 + 1, pooling rounded up, fc6 n - 5, upscore 32 (n - 1) + 63."""
    net = narrow("fcn-alexnet")
    nets.reshape(net, 500, 500)
    found = nets.sizes(net, "conv1", "pool1", "conv2", "pool2", "conv5", "pool5", "fc6", "upscore", "score")
    assert found == [173, 86, 86, 43, 43, 21, 16, 543, 500]


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("height, width", [(1, 1), (31, 32), (33, 64), (281, 500), (640, 97), (1199, 1100)])
def test_scores_have_the_images_size(narrow, name, height, width):
    """Every crop lies inside its blob, or the reshape would fail."""
    net = narrow(name)
    nets.reshape(net, height, width)
    assert tuple(net.blobs[zoo.get(name).score].shape[2:]) == (height, width)


@pytest.mark.parametrize("name", PARAMETERS)
def test_crop_offsets_are_those_of_the_coordinate_maps(name):
    """The offsets that the fork of the time computed by itself, from how the blobs line up."""
    param = zoo.get(name).net()
    written = {}
    for layer in param.layer:
        if layer.type == "Crop":
            written[layer.name] = list(layer.crop_param.offset) * 2
            layer.ClearField("crop_param")
    crops.align_legacy_crops(param, [])
    for layer in param.layer:
        if layer.type == "Crop":
            computed = list(layer.crop_param.offset)
            assert computed in (written[layer.name], written[layer.name][:1]), layer.name


@pytest.mark.parametrize(
    "name, offsets",
    [
        ("fcn-32s", [19]),
        ("fcn-16s", [5, 27]),
        ("fcn-8s", [5, 9, 31]),
        ("fcn-8s-atonce", [5, 9, 31]),
        ("fcn-8s-context", [5, 9, 31]),
        ("fcn-8s-coco", [5, 9, 31]),
        ("fcn-alexnet", [18]),
    ],
)
def test_crop_offsets(name, offsets):
    crops = [layer.crop_param for layer in zoo.get(name).net().layer if layer.type == "Crop"]
    assert [list(crop.offset) for crop in crops] == [[offset] for offset in offsets]
    assert all(crop.axis == 2 for crop in crops)


VGG16 = [
    f"conv{stage}_{i}" for stage, convs in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, convs + 1)
] + ["fc6", "fc7"]
ALEXNET = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]


@pytest.mark.parametrize(
    "name, expected",
    [
        ("fcn-32s", [*VGG16, "score_fr", "upscore"]),
        ("fcn-16s", [*VGG16, "score_fr", "upscore2", "score_pool4", "upscore16"]),
        (
            "fcn-8s",
            [*VGG16, "score_fr", "upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8"],
        ),
        ("fcn-alexnet", [*ALEXNET, "score_fr", "upscore"]),
        ("fcn-8s-coco", [*VGG16, "score-fr", "score2", "score-pool4", "score4", "score-pool3", "upsample"]),
        (
            "crfasrnn-coco",
            [*VGG16, "score-fr", "score2", "score-pool4", "score4", "score-pool3", "upsample", "inference1"],
        ),
    ],
)
def test_layers_with_weights_have_the_released_names(narrow, name, expected):
    assert list(narrow(name).params) == expected


def test_at_once_scales_the_skips_down(narrow):
    net = narrow("fcn-8s-atonce")
    assert [name for name in net.params if name.startswith("scale")] == ["scale_pool4", "scale_pool3"]
    assert net.params["scale_pool4"][0].data.tolist() == pytest.approx([0.01] * 4)
    assert net.params["scale_pool3"][0].data.tolist() == pytest.approx([0.0001] * 4)
    layers = {layer.name: layer for layer in zoo.get("fcn-8s-atonce").net().layer}
    assert list(layers["score_pool4"].bottom) == ["scale_pool4"]
    assert list(layers["score_pool3"].bottom) == ["scale_pool3"]


def test_crfasrnn_blobs_and_learned_upsampling():
    """Blobs not named like their layers; score2 alone has a bias, score2 and score4 alone are learned."""
    layers = {layer.name: layer for layer in zoo.get("crfasrnn-coco").net().layer}
    tops = {name: list(layer.top) for name, layer in layers.items()}
    assert tops["score-fr"] == ["score"] and tops["fuse"] == ["score-fused"]
    assert tops["upsample"] == ["bigscore"] and tops["crop_3"] == ["coarse"]
    assert tops["splitting"] == ["unary", "Q0"] and tops["inference1"] == ["pred"]
    assert list(layers["inference1"].bottom) == ["unary", "Q0", "data"]
    upsampling = [layer for layer in layers.values() if layer.type == "Deconvolution"]
    assert [layer.name for layer in upsampling if layer.convolution_param.bias_term] == ["score2"]
    assert [layer.name for layer in upsampling if layer.param[0].lr_mult] == ["score2", "score4"]
    crf = layers["inference1"].multi_stage_meanfield_param
    assert (crf.num_iterations, crf.theta_alpha, crf.theta_beta, crf.theta_gamma) == (10, 160, 3, 3)
    assert [spec.lr_mult for spec in layers["inference1"].param] == [10000, 10000, 1000]


def test_released_crfasrnn_description_becomes_the_same_net():
    """Repeated names, and Crops that their Caffe aligned, as released: the surgery makes the same of both."""
    ours = zoo.get("crfasrnn-coco").net()
    released = zoo.get("crfasrnn-coco").net()
    for layer in released.layer:
        layer.name = layer.name.split("_")[0] if layer.type in ("Crop", "Eltwise") else layer.name
        layer.ClearField("crop_param")
    assert [layer.name for layer in released.layer].count("crop") == 3
    assert prepare(released, score="pred").net == prepare(ours, score="pred").net
