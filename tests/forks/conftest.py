"""The fixture ``opencv``: OpenCV 4, with which the layers of Caffe's forks are compared."""

from __future__ import annotations

from typing import Iterator

import pytest

from conformance.opencv import OpenCV, version


@pytest.fixture(scope="session")
def opencv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenCV]:
    if not version():
        pytest.skip("OpenCV 4, the last with a Caffe importer, is not here: make test-forks")
    started = OpenCV(tmp_path_factory.mktemp("opencv"))
    yield started
    started.close()
