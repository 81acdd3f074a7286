"""Does a quarter of the confidence gap suit other encodings and steps too? A table of docs/choosing_eps.md.

    python -m benchmarks.choosing_eps_encodings [--out DIR] [--runs reports/choosing_eps]

As ``benchmarks.choosing_eps``, with fewer images; eps is chosen on the first 20 test images (of CamVid
on all six), without labels.
Needs the data sets camvid and digit-scenes (CAFFE_GP_DATA).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from caffe_gp.experiments import suites
from caffe_gp.experiments.bench import Bench
from caffe_gp.files import atomic
from caffe_gp.report.experiment_report import Table

from .choosing_eps import Case, Sweep
from .folders import RESULTS

CASES = (
    Case("digits", "digits", range(-4, 6), "", "digit-scenes-test", 60),
    Case("camvid", "camvid", range(-4, 2), "", "camvid-test", 6),
)
METHODS: dict[str, dict[str, Any]] = {
    "onehot, sign": {},
    "thresholded-onehot 0.9, sign": {"encoding": "thresholded-onehot", "threshold": 0.9},
    "entropy, sign": {"encoding": "entropy"},
    "onehot, gradient": {"step": "gradient"},
}


def main() -> None:
    """Sweep, and write choosing_eps_encodings.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=Path("reports/choosing_eps"))
    options = parser.parse_args()
    head = [
        "net",
        "encoding, step",
        "best of the sweep",
        "a quarter, first 20",
        "confidence closed at the best",
    ]
    table = Table("Other encodings and steps", head)
    for case in CASES:
        bench = Bench(suites.get(case.suite), options.runs, available=True, threads=1, quiet=True)
        for name, method in METHODS.items():
            steps = [2.0**power for power in case.powers]
            images = bench.named(case.test).first(case.images)
            sweep = Sweep(bench.run(bench.suite.net(case.net), steps, images, **method))
            chosen, top = sweep.eps_for(0.25, slice(0, 20)), float(sweep.eps[sweep.gains.argmax()])
            gain = sweep.run.gain(top)
            best = f"{sweep.best:+.2f} at {top:g} ({100 * gain.low:+.2f} .. {100 * gain.high:+.2f})"
            closed = f"{sweep.closed()[sweep.gains.argmax()]:.2f}"
            table.add(case.title, name, best, f"{sweep.gain(chosen):+.2f} at {chosen:.3g}", closed)
            print(table.rows[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    atomic.write_text(options.out / "choosing_eps_encodings.md", table.markdown())


if __name__ == "__main__":
    main()
