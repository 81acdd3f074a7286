"""All benchmarks, one after the other, and what is to be reached: ``make bench``.

    python -m benchmarks.run [options that all of them have]

Results go to ``benchmarks/results/``.
"""

from __future__ import annotations

import subprocess
import sys

from . import targets
from .folders import ROOT
from .report import NAMES


def main() -> int:
    """Run every benchmark, print ``targets.md``; nonzero if one of them failed."""
    failed = []
    for name in NAMES:
        print(f"==== {name}", flush=True)
        if subprocess.run(
            [sys.executable, "-m", f"benchmarks.bench_{name}", *sys.argv[1:]], cwd=ROOT
        ).returncode:
            failed.append(name)
    print("==== targets", flush=True)
    targets.main()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
