#!/usr/bin/env python3
"""Train a net by a Caffe solver file: any net and solver that Caffe trains, on either engine."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
# Threads that wait sleep instead of spinning: the same speed on a free machine, several times faster on a
# busy one. Must be set before PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from caffe_gp import engines  # noqa: E402
from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.cli.options import add_engine  # noqa: E402
from caffe_gp.training import trainer  # noqa: E402
from caffe_gp.training.recipe import read_recipe  # noqa: E402

EXAMPLES = """
examples:
  train LeNet, or go on where an earlier run stopped (CAFFE_GP_DATA: the folder that holds mnist/):
    train.py --solver prototxt/lenet/solver.prototxt
  the same recipe with another seed, in another folder:
    train.py --solver prototxt/lenet/solver.prototxt --seed 2 --out runs/lenet-2
  fine-tune:
    train.py --solver solver.prototxt --weights vgg16.caffemodel

Paths in a solver file are relative to the current folder, as in Caffe. Beside the snapshots (snapshot_prefix)
lie PREFIX_log.json, the losses and test scores, and PREFIX_curves.png, a picture of them. Ctrl-C writes a
snapshot; the same command then goes on from the newest one. Plain data layers begin again at their first
batch then, as Caffe's do; Python data layers with `batch` and `position` go on with the samples that they
would have given.

exit codes: 0 done, 2 bad input, 4 engine, 130 interrupted, 1 anything else
"""


def main() -> int:
    """Parse the arguments, train, say where the weights are."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="train.py", description=__doc__, epilog=EXAMPLES, formatter_class=formatter
    )
    parser.add_argument("--solver", required=True, metavar="FILE", help="solver prototxt")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--weights",
        metavar="FILE",
        help="caffemodel to start from, as for fine-tuning; an earlier run's snapshot goes before it",
    )
    start.add_argument(
        "--snapshot", metavar="FILE", help="solverstate to go on from (default: the newest of the prefix)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the snapshots")
    parser.add_argument("--iterations", type=int, metavar="N", help="in place of the solver's max_iter")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="in place of random_seed, and of `seed` in Python layers' JSON"
    )
    parser.add_argument("--data", metavar="NAME", help="in place of `data` in Python layers' JSON")
    add_engine(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args()

    def work() -> None:
        chosen = engines.resolve(args.engine)
        os.environ[engines.ENGINE_VARIABLE] = chosen  # Python layers are written for the engine in use
        recipe = read_recipe(
            args.solver, out=args.out, iterations=args.iterations, seed=args.seed, data=args.data
        )
        options = {"engine": chosen, "device": args.device, "quiet": args.quiet}
        options.update(weights=args.weights, snapshot=args.snapshot)
        print(engines.run_guarded(trained, recipe, options) if chosen == "bvlc" else trained(recipe, options))

    return finish(work, tool="train", on_interrupt="The same command goes on from the snapshot.")


def trained(recipe: Any, options: dict[str, Any]) -> str:
    """Train; the weights file, the last loss and test scores, and the time, in one line."""
    run = trainer.train(recipe, **options)
    said = [f"loss {run.loss[-1][1]:.4f}"] if run.loss else []
    said += [f"test {name} {value:.4f}" for name, value in (run.tests[-1][1].items() if run.tests else ())]
    return f"{run.snapshot(recipe.max_iter)}: {', '.join([*said, f'{run.seconds / 60:.1f} minutes'])}"


if __name__ == "__main__":
    sys.exit(main())
