"""All benchmarks, one after the other: ``make bench``. Results go to ``benchmarks/results/``."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run every ``bench_*.py``; nonzero if one of them failed."""
    failed = []
    for script in sorted(HERE.glob("bench_*.py")):
        print(f"==== {script.name}", flush=True)
        if subprocess.run([sys.executable, str(script)], cwd=HERE.parent).returncode:
            failed.append(script.name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
