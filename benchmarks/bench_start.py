"""How long the program takes to start: to import caffe_gp, and to print a subcommand's help.

    python -m benchmarks.bench_start [WAY ...] [--rounds 2] [--settings 1-cpu 2-wall]

The whole process is timed, Python's own start (the way ``python``) included; the fastest of ten counts.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from . import measure, report, workers
from .folders import ROOT
from .measure import Setting

WAYS = {
    "python": ["-c", "pass"],
    "import": ["-c", "import caffe_gp"],
    "help": ["-m", "caffe_gp", "run", "--help"],
}
TIMES = 10


def run(way: str, setting: Setting) -> dict[str, float]:
    """Seconds of the fastest process."""
    return {"seconds": min(_seconds(WAYS[way], setting) for _ in range(TIMES))}


def _seconds(arguments: list[str], setting: Setting) -> float:
    start, spent = time.perf_counter(), _spent()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=workers.environment(setting),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return _spent() - spent if setting.clock == "cpu" else time.perf_counter() - start


def _spent() -> float:
    """Processor time of all processes that were started here and have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def markdown(result: dict) -> str:
    """One line a process."""
    explanation = f"seconds of a whole process, the fastest of {TIMES} a round."
    return report.page(result, "How long the program takes to start", explanation, _table)


def _table(ways: dict[str, dict[str, float]]) -> list[str]:
    rows = [[f"`python {' '.join(WAYS[way])}`", f"{best['seconds']:.2f}"] for way, best in ways.items()]
    return report.table(["process", "seconds"], rows)


def main() -> None:
    """Parse the command line; measure, print and write the table."""
    options = measure.parser(__doc__).parse_args()
    result = report.begin("start", options)
    result["figures"] = measure.in_turn(WAYS, options, run)
    report.write(result, options.out, markdown)


if __name__ == "__main__":
    main()
