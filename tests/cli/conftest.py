"""The command line as a user meets it, in this process or in one of its own."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from caffe_gp.cli.main import main


@pytest.fixture()
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Runs ``caffe_gp WORDS...`` in this process: command(words..., code=0) -> (stdout, stderr)."""

    def call(*words: Any, code: int = 0) -> tuple[str, str]:
        capfd.readouterr()
        try:
            found = main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            found = int(stop.code or 0)
        stdout, stderr = capfd.readouterr()
        assert found == code, stderr
        return stdout, stderr

    return call
