"""The committed weights of the CamVid net: those of the record, and as good as it says on real images."""

from __future__ import annotations

import json

import pytest

from caffe_gp.datasets import segmentation
from caffe_gp.files.hashes import sha256_of
from caffe_gp.training import camvid, camvid_bn


@pytest.fixture(scope="module")
def record(project_root):
    """models/camvid/training.json."""
    return json.loads((project_root / "models" / "camvid" / "training.json").read_text())


def test_the_record_is_of_these_files(project_root, record):
    weights = project_root / "models" / "camvid" / record["weights"]
    assert sha256_of(weights) == record["sha256"]
    assert weights.stat().st_size < 6e6
    for name, digest in record["prototxts"].items():
        assert sha256_of(project_root / "prototxt" / "camvid" / f"{name}.prototxt") == digest


def test_with_its_normalisation_it_is_the_same_net(project_root, record, shared_data, monkeypatch):
    """The committed weights of camvid-bn: those of its record, made of these, and equal in their scores."""
    monkeypatch.setenv("CAFFE_GP_DATA", str(shared_data))
    folder, prototxt = project_root / "models" / "camvid-bn", project_root / "prototxt" / "camvid-bn"
    kept = json.loads((folder / "training.json").read_text())
    assert kept["of"]["sha256"] == record["sha256"]
    assert sha256_of(folder / kept["weights"]) == kept["sha256"]
    assert sha256_of(prototxt / "deploy.prototxt") == kept["prototxts"]["deploy"]
    assert camvid_bn.difference(prototxt / "deploy.prototxt", folder / kept["weights"]) < 1e-4


def test_it_labels_real_images(project_root, record, shared_data):
    """Every tenth validation image: about as accurate as on all of them."""
    data = segmentation.get("camvid-val", shared_data)
    assert data.list_sha256 == record["validation"]["list_sha256"]
    matrix = camvid.validate(
        project_root / "prototxt" / "camvid" / "deploy.prototxt",
        project_root / "models" / "camvid" / record["weights"],
        data.only(data.ids[::10]),
        quiet=True,
    )
    assert matrix.pixel_accuracy == pytest.approx(record["validation"]["pixel_accuracy"], abs=0.03)
