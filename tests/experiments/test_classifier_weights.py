"""The committed weights of the classifiers: those of the record, and as good as it says on real images."""

from __future__ import annotations

import json

import pytest

from caffe_gp import provenance
from caffe_gp.datasets import classification
from caffe_gp.experiments import train_classifier

SEEDS = ("", "_seed2", "_seed3")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["lenet", "cifar10"])
def test_the_record_is_of_these_files(project_root, name, seed):
    folder = project_root / "models" / name
    record = json.loads((folder / f"training{seed}.json").read_text())
    assert record["weights"] == f"{name}{seed}.caffemodel" and record["seed"] == int(seed[5:] or 1)
    assert provenance.sha256_of(folder / record["weights"]) == record["sha256"]
    assert (folder / record["weights"]).stat().st_size < 2.5e6
    for kind, digest in record["prototxts"].items():
        assert provenance.sha256_of(project_root / "prototxt" / name / f"{kind}.prototxt") == digest


@pytest.mark.parametrize("seed", SEEDS)
def test_lenet_reads_the_test_digits(project_root, shared_data, seed):
    """All 10,000: as many right as the record says, but for one with two best scores as good as equal."""
    record = json.loads((project_root / f"models/lenet/training{seed}.json").read_text())
    found = train_classifier.score(
        "lenet",
        project_root / "prototxt/lenet/deploy.prototxt",
        project_root / f"models/lenet/lenet{seed}.caffemodel",
        classification.get("mnist-test", shared_data),
    )
    assert found["sha256"] == record["test"]["sha256"]
    assert found["correct"] == pytest.approx(record["test"]["correct"], abs=1)
