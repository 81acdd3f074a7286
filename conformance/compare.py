"""Compares the embedded Caffe with recordings of BVLC Caffe's cases, and writes the table of what was found.

Usage:

    python -m conformance.compare [--recordings DIR] [--only FAMILY ...] [--match TEXT]
    python -m conformance.compare --recordings DIR --table docs/faithfulness.md
    python -m conformance.compare --recordings DIR --write-goldens     the small subset that is committed
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from conformance import goldens, recordings, table
from conformance.cases import FAMILIES
from conformance.outcome import Outcome, compare_case


def embedded() -> Any:
    """The embedded Caffe, on one thread and without its warnings about unusual nets."""
    import torch

    import caffe_gp.caffe

    logging.getLogger("caffe").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    return caffe_gp.caffe


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recordings",
        type=Path,
        default=goldens.FOLDER,
        help="folder of recordings (default: the committed goldens)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(FAMILIES), default=list(FAMILIES), help="families to compare"
    )
    parser.add_argument("--match", default="", help="only cases with this text in their name")
    parser.add_argument("--table", type=Path, help="write the table to this file")
    parser.add_argument(
        "--write-goldens", action="store_true", help="choose the committed goldens from the recordings"
    )
    return parser.parse_args()


def main() -> int:
    """Compare; nonzero if a case is outside the limits."""
    args = _arguments()
    if args.write_goldens:
        goldens.write(args.recordings)
        return 0
    caffe, refused = embedded(), 0
    outcomes: dict[str, list[Outcome]] = {}
    for family in args.only:
        results = recordings.load(args.recordings / f"{family}.npz")
        for case in FAMILIES[family]():
            if args.match in case.name and case.name in results:
                outcome = compare_case(caffe, case, results[case.name])
                outcomes.setdefault(case.layer, []).append(outcome)
                refused += case.refused
                if outcome.problems:
                    print("\n    ".join([case.name, *outcome.problems]))
    rows = table.rows(outcomes)
    for row in rows:
        print(
            f"{row.name:28} {row.cases:4} cases  forward {row.forward:.1e}  backward {row.backward:.1e}  "
            f"bad {row.bad}"
        )
    bad = sum(row.bad for row in rows)
    print(f"{sum(row.cases for row in rows)} cases, {bad} outside the limits")
    if args.table:
        table.write(args.table, rows, refused)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
