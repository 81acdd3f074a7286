"""The fixture ``opencv``: OpenCV 4, with which the layers of Caffe's forks are compared."""

from __future__ import annotations

from typing import Iterator

import pytest

from conformance import opencv as environment
from tests.forks.harness import OpenCV


@pytest.fixture(scope="session")
def opencv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenCV]:
    if not environment.version():
        pytest.skip("OpenCV 4, the last with a Caffe importer, is not here: make test-forks")
    started = OpenCV(tmp_path_factory.mktemp("opencv"))
    yield started
    started.close()
