"""The registry: entries that hold together, and prototxts that are what the code writes."""

from __future__ import annotations

import pytest

from caffe_gp import proto
from caffe_gp.datasets import class_names
from caffe_gp.errors import CaffeGPError, PrototxtError
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.models import tables, weights, zoo
from caffe_gp.models.prepared import prepared_text
from caffe_gp.surgery.prepare import prepare

MODELS = list(zoo.MODELS.values())
EPS = {"fcn-32s": 0.55, "fcn-8s": 0.7, "fcn-8s-context": 0.7, "crfasrnn-coco": 0.22}  # the paper's
EPS.update({"camvid": 0.25, "camvid-bn": 0.25, "digits": 4.0})  # docs/results.md


def test_every_row_of_the_table_has_every_column():
    assert len({line.count(" | ") for line in tables.models().splitlines()}) == 1


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_deploy_file_is_the_net(model):
    param = proto.read_net_param(str(model.prototxt()))
    assert param == model.net() and param.name == model.name
    names = [layer.name for layer in param.layer]
    assert len(set(names)) == len(names)
    assert param.layer[0].type == "Input" and list(param.layer[0].top) == ["data"]
    assert any(model.score in layer.top for layer in param.layer)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_prepared_text_is_ready(model):
    """A Softmax on the scores that Caffe backpropagates from, and no parameter's gradient but the probe's."""
    param = proto.parse_net_param(prepared_text(model.name, engine="torch"))
    softmax = param.layer[-1]
    assert softmax.type == "Softmax" and list(softmax.bottom) == [model.score]
    assert list(softmax.loss_weight) == [1]
    learning = [layer.name for layer in param.layer for spec in layer.param if spec.lr_mult]
    assert learning == ["probe"]
    again = prepare(proto.read_net_param(str(model.prototxt())), score=model.score)
    # Read once more: Caffe adds to a BatchNorm's three parameters, which are fixed, that they do not decay.
    assert proto.parse_net_param(proto.to_text(again.net)) == param


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_entry_holds_together(model):
    net, feed = model.net(), model.feed
    _, channels, height, width = net.layer[0].input_param.shape[0].dim
    assert feed.channels == channels
    for size in (feed.resize, feed.pad_to):
        assert size in (None, (width, height)) or size == max(width, height)
    assert len(set(model.classes)) == len(model.classes)
    assert model.eps == EPS.get(model.name) and model.eps_source
    assert model.weights is None or model.weights.endswith(".caffemodel")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_scores_have_a_channel_for_every_class(model):
    """Follows the score blob down to the layer that sets the number of channels."""
    makers = {top: layer for layer in model.net().layer for top in layer.top if top not in layer.bottom}
    layer = makers[model.score]
    while not (layer.convolution_param.num_output or layer.inner_product_param.num_output):
        layer = makers[layer.bottom[0]]
    assert (layer.convolution_param.num_output or layer.inner_product_param.num_output) == len(model.classes)


def test_class_names():
    assert len(class_names.VOC) == 21 and class_names.VOC[0] == "background"
    assert [class_names.VOC.index(name) for name in ("aeroplane", "cow", "person", "tvmonitor")] == [
        1,
        10,
        15,
        20,
    ]
    context = class_names.PASCAL_CONTEXT
    assert len(context) == 60 and context[:21] == class_names.VOC
    places = {"bag": 21, "floor": 33, "ground": 37, "curtain": 42, "sky": 50, "bedcloth": 52, "wood": 59}
    assert {name: context.index(name) for name in places} == places
    assert class_names.CIFAR10.index("deer") == 4 and class_names.DIGITS[7] == "7"


def test_crf_rnn_has_two_means_by_name():
    for name in ("crfasrnn-coco", "fcn-8s-coco"):
        model, demo = zoo.get(name), zoo.get(f"{name}-demo-mean")
        assert model.feed.mean == (103.939, 116.779, 123.68)  # blue, green, red: VGG's
        assert demo.feed.mean == (123.68, 116.779, 103.939)  # crfasrnn_demo.py since 2017
        assert (demo.prototxt(), demo.eps, demo.weights) == (model.prototxt(), model.eps, model.weights)
        assert demo.feed.pad_to == model.feed.pad_to and weights.find(demo.name) is weights.find(name)
        settings = NetSettings.of_model(demo.name, eps=[1.0], caffemodel="w.caffemodel")
        assert settings.model == demo.name and settings.mean == demo.feed.mean


def test_unknown_model_is_told_with_the_nearest():
    with pytest.raises(
        CaffeGPError, match=r"unknown model 'fcn32s'; did you mean fcn-32s.*known: .*crfasrnn-coco"
    ):
        zoo.get("fcn32s")
    with pytest.raises(CaffeGPError, match=r"unknown model 'zzzz' \(known"):
        zoo.get("zzzz")


def test_prepared_text_says_what_it_is_and_what_was_done(tmp_path):
    first, *lines = prepared_text("fcn-8s").splitlines()
    assert first == "# FCN-8s, prepared for guided perturbations."
    assert lines[0] == "# class scores: blob 'score' (as asked)"
    assert any("probe" in line for line in lines[:4])
    path = tmp_path / "net.prototxt"
    path.write_text(proto.to_text(zoo.get("lenet").net()))
    of_file = prepared_text(path, engine="bvlc")
    assert of_file.startswith(f"# {path}, prepared")
    assert proto.parse_net_param(of_file) == proto.parse_net_param(prepared_text("lenet"))
    scores = prepared_text(path, score="ip1", input_shape=(2, None, None, None))
    param = proto.parse_net_param(scores)
    assert param.layer[-1].bottom[0] == "ip1" and param.layer[0].input_param.shape[0].dim[0] == 2


def test_prepared_text_of_nothing_known(tmp_path):
    with pytest.raises(PrototxtError, match="fcn8s: no such file, and no model.*; did you mean fcn-8s"):
        prepared_text("fcn8s")
    (tmp_path / "bad.prototxt").write_text("layer {")
    with pytest.raises(PrototxtError, match="bad.prototxt:1"):
        prepared_text(tmp_path / "bad.prototxt")


def test_table_replaces_what_follows_its_marker():
    text = tables.filled("before\n\n<!-- models -->\n| old |\n\nafter\n")
    assert text.startswith("before\n\n<!-- models -->\n| --model |") and text.endswith(" |\n\nafter\n")
    assert (
        "old" not in text and text.count("`TVG_CRFRNN_COCO_VOC.caffemodel`, non-commercial use only |") == 2
    )
    assert tables.filled(text) == text
    assert tables.filled("before\n\n<!-- models -->\n\nafter\n") == text
