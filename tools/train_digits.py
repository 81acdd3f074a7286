#!/usr/bin/env python3
"""Train the digits net again (make train-digits): about 10 minutes on two cores; a stopped run goes on."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# Threads that wait sleep instead of spinning: the same speed on a free machine, several times faster on a
# busy one. Must be set before PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from caffe_gp.cli.exit_codes import finish  # noqa: E402


def main() -> int:
    """Parse the arguments, train, say where the weights are."""
    show_defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=show_defaults)
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "models" / "digits",
        help="folder for digits.caffemodel, training.json and training/ (snapshots)",
    )
    parser.add_argument(
        "--prototxts",
        type=Path,
        default=ROOT / "prototxt" / "digits",
        help="folder with train, deploy and solver.prototxt",
    )
    parser.add_argument("--steps", type=int, help="iterations instead of the recipe's (for trials)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args()

    def work() -> None:
        from caffe_gp.training import digits

        record = digits.train(args.prototxts, args.out, args.steps, args.quiet)
        scenes, score = record["validation"]["scenes"], 100 * record["validation"]["mean_iu"]
        print(
            f"{args.out / record['weights']}: mean IU {score:.2f} % on {scenes} validation scenes, "
            f"trained in {record['seconds'] / 60:.1f} minutes"
        )

    return finish(work, tool="train_digits", on_interrupt="The same command goes on from the snapshot.")


if __name__ == "__main__":
    sys.exit(main())
