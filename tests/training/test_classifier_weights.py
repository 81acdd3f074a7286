"""The committed weights of the classifiers: those of the record, and as good as it says on real images."""

from __future__ import annotations

import json
import zipfile

import pytest

from caffe_gp.datasets import classification
from caffe_gp.engines import load_caffe
from caffe_gp.files.hashes import sha256_of
from caffe_gp.training import classifier

SEEDS = ("", "_seed2", "_seed3")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["lenet", "cifar10"])
def test_the_record_is_of_these_files(project_root, name, seed):
    folder = project_root / "models" / name
    record = json.loads((folder / f"training{seed}.json").read_text())
    assert record["weights"] == f"{name}{seed}.caffemodel" and record["seed"] == int(seed[5:] or 1)
    assert sha256_of(folder / record["weights"]) == record["sha256"]
    assert (folder / record["weights"]).stat().st_size < 2.5e6
    for kind, digest in record["prototxts"].items():
        assert sha256_of(project_root / "prototxt" / name / f"{kind}.prototxt") == digest


@pytest.mark.parametrize("seed", SEEDS)
def test_lenet_reads_the_test_digits(project_root, shared_data, seed):
    """All 10,000: as many right as the record says, but for one with two best scores as good as equal."""
    record = json.loads((project_root / f"models/lenet/training{seed}.json").read_text())
    found = classifier.score(
        "lenet",
        project_root / "prototxt/lenet/deploy.prototxt",
        project_root / f"models/lenet/lenet{seed}.caffemodel",
        classification.get("mnist-test", shared_data),
        load_caffe(),
    )
    assert found["sha256"] == record["test"]["sha256"]
    assert found["correct"] == pytest.approx(record["test"]["correct"], abs=1)


def test_the_cifar10_net_reads_a_jpeg_copy(project_root, shared_data, tmp_path):
    """As right as on the copy that it was measured on; another decoder may change a few pixels."""
    with zipfile.ZipFile(str(shared_data / "cifar10_jpeg.zip")) as copy:
        copy.extractall(tmp_path, [name for name in copy.namelist() if "/test/" in f"/{name}"])
    (test,) = (path for path in tmp_path.rglob("test") if path.is_dir())
    record = json.loads((project_root / "models/cifar10/training.json").read_text())
    found = classifier.score(
        "cifar10",
        project_root / "prototxt/cifar10/deploy.prototxt",
        project_root / "models/cifar10/cifar10.caffemodel",
        classification.get(f"folder:{test}"),
        load_caffe(),
    )
    assert found["images"] == 10_000
    assert found["correct"] == pytest.approx(record["test"]["correct"], abs=10)
