"""The two small VOC nets, against the files that were converted from the published TFLite models."""

from __future__ import annotations

import shutil

import pytest

from caffe_gp import proto
from caffe_gp.errors import WeightsError
from caffe_gp.models import fetch, weights, zoo

FOLDERS = {"mnv2-dm05-257": "mnv2_dm05_257", "mnv2-dm10-513": "mnv2_dm10_513"}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_layer_is_the_converted_net_s(name, shared_data):
    expected = proto.read_net_param(shared_data / "caffe_voc" / FOLDERS[name] / "deploy.prototxt")
    found = zoo.get(name).net()
    assert expected.layer[0].name == "data" and list(expected.layer[0].top) == ["data"]
    expected.layer[0].name = "input"
    layers = {layer.name: layer for layer in expected.layer}
    assert layers == {layer.name: layer for layer in found.layer} and len(layers) == len(found.layer)


@pytest.mark.parametrize("name", FOLDERS)
def test_the_weights_come_from_a_folder(name, shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("CAFFE_GP_MODELS", str(tmp_path / "models"))
    file = weights.find(name)
    (tmp_path / "mine").mkdir()
    with pytest.raises(WeightsError, match=f"{file.name}.*published nowhere.*--from-dir"):
        fetch.fetch(name, progress=False, say=lambda line: None)
    shutil.copy(
        str(shared_data / "caffe_voc" / FOLDERS[name] / "weights.caffemodel"),
        str(tmp_path / "mine" / file.name),
    )
    fetch.fetch(name, from_dir=tmp_path / "mine", say=lambda line: None)
    assert weights.require(name) == tmp_path / "models" / file.name
