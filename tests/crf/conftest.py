"""Real photographs for the CRF's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photo(shared_data: Path) -> Callable[..., np.ndarray]:
    """photo(id): a VOC image, (H, W, 3) uint8 RGB."""

    def load(name: str) -> np.ndarray:
        path = shared_data / "voc2012" / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{name}.jpg"
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))

    return load
