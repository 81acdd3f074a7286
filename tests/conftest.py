"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Before anything loads torch or BLAS: test processes share the cores, and the last bits of sums depend on it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402

from caffe_gp import engines  # noqa: E402
from conformance.folders import ROOT, SHARED_DATA  # noqa: E402

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
