"""The misbehaving HTTP server of the weights' tests serves data sets too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models"))

import weights_server  # noqa: E402


@pytest.fixture(scope="module")
def server():
    with weights_server.serving() as server:
        yield server
