"""All benchmarks, one after the other, and what is to be reached: ``make bench``.

    python -m benchmarks.run [NAME ...] [--rounds 2] [--settings 1-cpu 2-wall] [--out DIR]

NAME: some benchmarks only (gp networks mnist start crf weights). Results go to ``benchmarks/results/``.
"""

from __future__ import annotations

import subprocess
import sys

from . import measure, targets
from .folders import ROOT
from .report import NAMES


def main() -> int:
    """Run every benchmark, print ``targets.md``; nonzero if one of them failed."""
    parser = measure.parser(__doc__)
    options = parser.parse_args()
    if set(options.ways) - set(NAMES):
        parser.error(f"the benchmarks are {', '.join(NAMES)}")
    given = ["--rounds", str(options.rounds), "--out", str(options.out.absolute())]
    given += ["--settings", *map(str, options.settings)]
    failed = []
    for name in options.ways or NAMES:
        print(f"==== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.bench_{name}", *given]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(name)
    print("==== targets", flush=True)
    targets.write(options.out)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
