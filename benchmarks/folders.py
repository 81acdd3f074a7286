"""Where the benchmarks find real data and BVLC Caffe, and leave their results."""

from __future__ import annotations

import os
from pathlib import Path

from conformance.folders import ROOT, SHARED_DATA

__all__ = ["BVLC_ROOT", "RESULTS", "ROOT", "SHARED_DATA"]
RESULTS = ROOT / "benchmarks" / "results"
# The file system of ``make bvlc``.
BVLC_ROOT = Path(os.environ.get("CAFFE_GP_BVLC_ROOT", str(ROOT / ".cache" / "bvlc")))
