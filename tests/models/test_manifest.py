"""The manifest of released weights, against the zoo and against what was published."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from caffe_gp.errors import CaffeGPError, WeightsError
from caffe_gp.files import places
from caffe_gp.models import weights, zoo

pytestmark = pytest.mark.engine

FILES = list(weights.released().values())
WITH_WEIGHTS = [model for model in zoo.MODELS.values() if model.weights]
FORMATS = {"keras-crfasrnn", "torch-crfasrnn", "torch-fcn", "chainer-fcn", "matconvnet-fcn"}


def file_id(file):
    return file.name


def test_every_file_of_the_zoo_is_in_the_manifest_and_the_other_way_round():
    assert {model.weights for model in WITH_WEIGHTS} == set(weights.released())


@pytest.mark.parametrize("file", FILES, ids=file_id)
def test_fields(file):
    assert file.name.endswith(".caffemodel") and "/" not in file.name
    assert file.licence and file.source
    # What is published nowhere has to be told by its hash, and its note says how to give it.
    assert file.urls or file.sha256 and "--from-dir" in file.note
    for url in [*file.urls, *file.pages, *(url for mirror in file.mirrors for url in mirror.urls)]:
        assert urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname
    lengths = {"sha256": 64, "sha1": 40, "md5": 32}
    hashes = [*file.hashes.items(), *(("md5", mirror.md5) for mirror in file.mirrors if mirror.md5)]
    for algorithm, value in hashes:
        assert re.fullmatch(f"[0-9a-f]{{{lengths[algorithm]}}}", value)
    assert (file.archive_member is not None) == any(url.endswith(".zip") for url in file.urls)
    for score in file.scores:
        assert 40 < score.mean_iu < 80 or "Context" in score.on
        assert score.on and score.source
    for mirror in file.mirrors:
        assert mirror.format in FORMATS and mirror.urls and "." in mirror.file


def test_hashes_are_all_different():
    hashes = [value for file in FILES for value in file.hashes.values()]
    hashes += [mirror.md5 for file in FILES for mirror in file.mirrors if mirror.md5]
    assert len(hashes) == len(set(hashes))


def test_published_values():
    """Hashes from opencv_extra and from the CRF-RNN README; the licence from there too."""
    assert weights.find("fcn-8s").sha1 == "c449ea74dd7d83751d1357d6a8c323fcf4038962"
    assert weights.find("crfasrnn-coco").sha1 == "bfda5c5149d566aa56695789fa9a08e7a7f3070a"
    assert [file.name for file in FILES if file.non_commercial] == ["TVG_CRFRNN_COCO_VOC.caffemodel"]


@pytest.mark.parametrize("file", FILES, ids=file_id)
def test_parameters_are_those_of_the_net_that_reads_all(file):
    assert file.parameters == file.models[0].parameters


def test_weights_that_were_trained_here(project_root, tmp_path):
    trained = [model.name for model in zoo.MODELS.values() if model.weights is None]
    assert trained == ["camvid", "camvid-bn", "digits", "lenet", "cifar10"]
    for name in trained:
        assert weights.require(name, tmp_path) == project_root / "models" / name / f"{name}.caffemodel"


def test_weights_that_are_trained_elsewhere(tmp_path, monkeypatch):
    """By an installed package, which does not come with those of LeNet."""
    monkeypatch.setattr(places, "checkout", lambda: tmp_path / "installed")
    with pytest.raises(WeightsError, match="lenet.caffemodel: not there, nor .*; 'caffe_gp train lenet'"):
        weights.require("lenet", tmp_path)
    (tmp_path / "lenet").mkdir()
    (tmp_path / "lenet" / "lenet.caffemodel").touch()
    assert weights.require("lenet", tmp_path) == tmp_path / "lenet" / "lenet.caffemodel"


def test_find():
    assert weights.find("fcn-8s-coco") is weights.find("crfasrnn-coco")
    assert weights.find("fcn8s-heavy-pascal.caffemodel") is weights.find("fcn-8s")
    with pytest.raises(CaffeGPError, match="nobody released weights for the model 'lenet'"):
        weights.find("lenet")
    with pytest.raises(CaffeGPError, match="did you mean fcn-8s"):
        weights.find("fcn8s")


def test_folder_and_missing_file(tmp_path, monkeypatch):
    monkeypatch.setenv("CAFFE_GP_MODELS", str(tmp_path))
    assert weights.path_of("fcn-32s") == tmp_path / "fcn32s-heavy-pascal.caffemodel"
    assert weights.status("fcn-32s") == "missing"
    with pytest.raises(WeightsError, match="caffe_gp fetch models fcn-32s"):
        weights.require("fcn-32s")
    (tmp_path / "fcn32s-heavy-pascal.caffemodel").write_bytes(b"x")
    assert weights.require("fcn-32s") == weights.path_of("fcn-32s")


def test_released_weights_cannot_be_committed_by_accident(project_root):
    rules = (project_root / "models" / ".gitignore").read_text().split("\n")
    assert "*" in rules and not any(name in rule for name in weights.released() for rule in rules)


@pytest.mark.parametrize("file", FILES, ids=file_id)
def test_the_guide_names_the_file_its_mirrors_and_its_scores(project_root, file):
    text = (project_root / "docs" / "weights.md").read_text(encoding="utf-8")
    names = {mirror.file for mirror in file.mirrors} | {file.archive_member or file.name}
    for name in names - {"*.caffemodel"}:
        assert f"`{name}`" in text
    for model in file.models:
        assert f"`{model.name}`" in text
    for score in file.scores:
        assert re.search(rf"\b{score.mean_iu:.4g}", text)
