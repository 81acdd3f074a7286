"""All benchmarks, one after the other: ``make bench``. Results go to ``benchmarks/results/``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .folders import ROOT


def main() -> int:
    """Run every ``bench_*.py``; nonzero if one of them failed."""
    failed = []
    for name in sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py")):
        print(f"==== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
