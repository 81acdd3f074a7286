"""The registry: entries that hold together, and prototxts that are what the code writes."""

from __future__ import annotations

import dataclasses

import pytest

from caffe_gp import proto
from caffe_gp.datasets import class_names
from caffe_gp.errors import CaffeGPError, PrototxtError
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.models import tables, write, zoo
from caffe_gp.surgery.prepare import prepare

MODELS = list(zoo.MODELS.values())
EPS = {"fcn-32s": 0.55, "fcn-8s": 0.7, "fcn-8s-context": 0.7, "crfasrnn-coco": 0.22}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_committed_prototxts_are_what_the_code_writes(model):
    for path, text in write.files([model]):
        assert write.is_current(path, text), f"{path}: run python -m caffe_gp.models.write"


def test_committed_table_is_what_the_code_writes():
    assert write.is_current(tables.DOCUMENT, tables.filled()), "run python -m caffe_gp.models.write"
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
def test_gp_file_is_ready(model):
    """A Softmax on the scores that Caffe backpropagates from, and no parameter's gradient but the probe's."""
    param = proto.read_net_param(str(model.prototxt("gp")))
    softmax = param.layer[-1]
    assert softmax.type == "Softmax" and list(softmax.bottom) == [model.score]
    assert list(softmax.loss_weight) == [1]
    learning = [layer.name for layer in param.layer for spec in layer.param if spec.lr_mult]
    assert learning == ["probe"]
    again = prepare(proto.read_net_param(str(model.prototxt())), score=model.score)
    assert proto.to_text(again.net) == proto.to_text(param)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_entry_holds_together(model):
    net, feed = model.net(), model.feed
    _, channels, height, width = net.layer[0].input_param.shape[0].dim
    Preprocess(feed.mean, feed.scale, feed.channel_order, channels, feed.resize, feed.pad_to)
    for size in (feed.resize, feed.pad_to):
        assert size in (None, (width, height))
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


def test_unknown_model_is_told_with_the_nearest():
    with pytest.raises(
        CaffeGPError, match=r"unknown model 'fcn32s'; did you mean fcn-32s.*known: .*crfasrnn-coco"
    ):
        zoo.get("fcn32s")
    with pytest.raises(CaffeGPError, match=r"unknown model 'zzzz' \(known"):
        zoo.get("zzzz")


def test_check_names_what_differs_and_leaves_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["write", "--check"])
    assert write.main() == 0 and capsys.readouterr().out == ""
    lenet = dataclasses.replace(zoo.get("lenet"), title="another title")
    monkeypatch.setitem(zoo.MODELS, "lenet", lenet)
    stale = [lenet.prototxt(), lenet.prototxt("gp"), tables.DOCUMENT]
    before = [path.read_bytes() for path in stale]
    assert write.main() == 2
    out, err = capsys.readouterr()
    assert out.split() == [str(path) for path in stale]
    assert "3 file(s) are not what the code writes" in err
    assert [path.read_bytes() for path in stale] == before


def test_writing(tmp_path):
    path, text = next(write.files([zoo.get("lenet")], tmp_path))
    assert path == tmp_path / "lenet" / "deploy.prototxt" and not write.is_current(path, text)
    write.write(path, text)
    assert write.is_current(path, text) and not write.is_current(path, text + "#")
    assert [file.name for file in path.parent.iterdir()] == ["deploy.prototxt"]
    with pytest.raises(PrototxtError, match="deploy.prototxt.*cannot be written"):
        write.write(path / "deploy.prototxt", text)


def test_table_replaces_what_follows_its_marker(tmp_path):
    document = tmp_path / "models.md"
    document.write_text("before\n\n<!-- models -->\n| old |\n\nafter\n")
    text = tables.filled(document)
    assert text.startswith("before\n\n<!-- models -->\n| --model |") and text.endswith(" |\n\nafter\n")
    assert (
        "old" not in text and text.count("`TVG_CRFRNN_COCO_VOC.caffemodel`, non-commercial use only |") == 2
    )
    document.write_text(text)
    assert tables.filled(document) == text
    document.write_text("before\n\n<!-- models -->\n\nafter\n")
    assert tables.filled(document) == text
