"""A tiny net and images for it, for the tests of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.evaluation import tiny_run


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the net's files."""
    folder = tmp_path_factory.mktemp("net")
    tiny_run.make_net(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    """As many images as the module's IMAGES says, with label maps."""
    return tiny_run.make_data(tmp_path_factory.mktemp("data"), request.module.IMAGES)
