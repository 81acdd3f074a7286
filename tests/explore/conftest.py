"""The demo's net, opened once for all tests, and pictures of many kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from PIL import Image

from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.explore.look import Look
from caffe_gp.explore.net import SharedNet

EXAMPLES = Path(__file__).resolve().parents[2] / "caffe_gp" / "explore" / "examples"


@pytest.fixture(scope="session")
def net() -> SharedNet:
    """The digits net."""
    return SharedNet(NetSettings.of_model("digits"))


@pytest.fixture()
def scene() -> Callable[..., Look]:
    """Reads an example scene: scene(net, 35) -> a look without a method."""

    def read(net: SharedNet, number: int = 35) -> Look:
        path = EXAMPLES / f"scene_{number}.png"
        return net.read(path, path.name, path.with_name(f"scene_{number}_labels.png"))

    return read


@pytest.fixture()
def photo(tmp_path: Path) -> Callable[[str, int, int], Path]:
    """Writes a picture of noise: photo('a.jpg', width, height) -> its path."""

    def write(name: str, width: int, height: int) -> Path:
        pixels = (
            np.random.RandomState(0).randint(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
        )
        Image.fromarray(pixels).resize((width, height)).save(tmp_path / name)
        return tmp_path / name

    return write
