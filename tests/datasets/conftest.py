"""The misbehaving HTTP server of the weights' tests serves data sets too; a small CIFAR-10."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models"))

import small_cifar  # noqa: E402
import weights_server  # noqa: E402

from caffe_gp.datasets import cifar  # noqa: E402


@pytest.fixture(scope="module")
def server():
    with weights_server.serving() as server:
        yield server


@pytest.fixture
def batches(tmp_path, monkeypatch):
    """Both published forms of CIFAR-10 with few images; returns its planes and labels by file name."""
    monkeypatch.setattr(cifar, "IMAGES_A_FILE", small_cifar.NUMBER)
    return small_cifar.write_both_forms(tmp_path)
