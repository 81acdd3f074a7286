#!/usr/bin/env python3
"""Train LeNet or the CIFAR-10 net again (make train-lenet, train-cifar10); a stopped run goes on."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# Threads that wait sleep instead of spinning: the same speed on a free machine, several times faster on a
# busy one. Must be set before PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from caffe_gp import engines  # noqa: E402
from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.cli.options import add_engine  # noqa: E402
from caffe_gp.files import places  # noqa: E402


def main() -> int:
    """Parse the arguments, train, say where the weights are and how good."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("lenet", "cifar10"))
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="for NAME.caffemodel, training.json, training/ (models/NAME)"
    )
    parser.add_argument("--data-root", help="folder of the data sets (default: CAFFE_GP_DATA, else data)")
    parser.add_argument(
        "--data", nargs=2, metavar=("TRAIN", "TEST"), help="other sets, such as folder:DIR1 folder:DIR2"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="in place of the recipe's (1); the files are named after it"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="iterations instead of the recipe's (trials)")
    add_engine(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args()

    def work() -> None:
        chosen = engines.resolve(args.engine)
        os.environ[engines.ENGINE_VARIABLE] = chosen  # Python layers are written for the engine in use
        if args.data_root:
            # The data layer reads it there: a prototxt has no place for a path of this machine.
            os.environ[places.DATA_VARIABLE] = args.data_root
        out = args.out or ROOT / "models" / args.name
        record = (
            engines.run_guarded(train, args, chosen, out) if chosen == "bvlc" else train(args, chosen, out)
        )
        test = record["test"]
        print(
            f"{out / record['weights']}: {test['correct']} of {test['images']} test images, "
            f"{100 * test['accuracy']:.2f} %, trained in {record['seconds'] / 60:.1f} minutes"
        )

    return finish(work, tool="train_classifier", on_interrupt="The same command goes on from the snapshot.")


def train(args: argparse.Namespace, chosen: str, out: Path) -> dict[str, Any]:
    """The record of the training."""
    from caffe_gp.training import classifier

    return classifier.train(
        args.name,
        ROOT / "prototxt" / args.name,
        out,
        data=args.data,
        seed=args.seed,
        steps=args.steps,
        engine=chosen,
        device=args.device,
        quiet=args.quiet,
    )


if __name__ == "__main__":
    sys.exit(main())
