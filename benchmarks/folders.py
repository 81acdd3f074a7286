"""Where the benchmarks find real data and BVLC Caffe, and leave their results."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SHARED_DATA = Path(os.environ.get("CAFFE_GP_SHARED_DATA", str(ROOT.parent / "shared" / "data")))
# The file system of ``make bvlc``.
BVLC_ROOT = Path(os.environ.get("CAFFE_GP_BVLC_ROOT", str(ROOT / ".cache" / "bvlc")))
