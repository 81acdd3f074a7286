"""Fixtures that every test folder shares."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from caffe_gp import engines
from conformance.folders import ROOT, SHARED_DATA

# Beside BVLC Caffe the modules for the embedded one alone cannot be imported: torch is not there.
if engines.resolve() == "bvlc":
    collect_ignore = [
        str(path)
        for path in (ROOT / "tests").rglob("test_*.py")
        if "pytest.mark.engine" not in path.read_text(encoding="utf-8")
    ]

# A shell starts background jobs with Ctrl-C ignored, and every process that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data and released weights (CAFFE_GP_SHARED_DATA); tests that need it skip without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real test data is not here: set CAFFE_GP_SHARED_DATA to its folder")
    return SHARED_DATA
