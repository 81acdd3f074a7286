"""Where goldens, recordings and real data lie."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The small part of the recordings that is committed.
GOLDENS = ROOT / "conformance" / "goldens"
# Everything that was recorded on this machine.
RECORDINGS = Path(os.environ.get("CAFFE_GP_RECORDINGS", str(ROOT / ".cache" / "bvlc-recordings")))
# Real data and released weights. Tests, recorders and benchmarks skip what needs them where they are absent.
SHARED_DATA = Path(os.environ.get("CAFFE_GP_SHARED_DATA", str(ROOT.parent / "shared" / "data")))
