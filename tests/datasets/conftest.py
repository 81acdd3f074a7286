"""The misbehaving HTTP server of the weights' tests serves data sets too; a small CIFAR-10."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import numpy as np
import pytest

from caffe_gp.datasets import cifar
from tests.datasets import small_cifar
from tests.models import weights_server


@pytest.fixture(scope="module")
def server() -> Iterator[weights_server.Server]:
    with weights_server.serving() as server:
        yield server


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both published forms of CIFAR-10 with few images; returns its planes and labels by file name."""
    monkeypatch.setattr(cifar, "IMAGES_A_FILE", small_cifar.NUMBER)
    return small_cifar.write_both_forms(tmp_path)
