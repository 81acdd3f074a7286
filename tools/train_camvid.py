#!/usr/bin/env python3
"""Train the CamVid net again (make train-camvid): 43 minutes on one core; a stopped run goes on."""

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
from caffe_gp.files import places  # noqa: E402


def main() -> int:
    """Parse the arguments, train, say where the weights are."""
    show_defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=show_defaults)
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "models" / "camvid",
        help="folder for camvid.caffemodel, training.json and training/ (snapshots)",
    )
    parser.add_argument(
        "--prototxts",
        type=Path,
        default=ROOT / "prototxt" / "camvid",
        help="folder with train, deploy and solver.prototxt",
    )
    parser.add_argument("--data-root", help="folder that holds camvid/ (default: CAFFE_GP_DATA, else data)")
    parser.add_argument("--steps", type=int, help="iterations instead of the recipe's (for trials)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args()

    def work() -> None:
        from caffe_gp.training import camvid

        if args.data_root:
            # The data layer reads it there: a prototxt has no place for a path of this machine.
            os.environ[places.DATA_VARIABLE] = args.data_root
        record = camvid.train(args.prototxts, args.out, args.steps, args.quiet)
        images, score = record["validation"]["images"], 100 * record["validation"]["mean_iu"]
        print(
            f"{args.out / record['weights']}: mean IU {score:.2f} % on {images} validation images, "
            f"trained in {record['seconds'] / 60:.1f} minutes"
        )

    return finish(work, tool="train_camvid", on_interrupt="The same command goes on from the snapshot.")


if __name__ == "__main__":
    sys.exit(main())
