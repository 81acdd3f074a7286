#!/usr/bin/env python3
"""Guided perturbations of a classifier's test images towards the classes of their nearest training images."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from caffe_gp import engines  # noqa: E402
from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.cli.options import add_net, add_preprocessing, settings_from  # noqa: E402
from caffe_gp.datasets import classification as sets  # noqa: E402
from caffe_gp.errors import DataError  # noqa: E402
from caffe_gp.evaluation import classification, classification_page  # noqa: E402
from caffe_gp.evaluation.classification import Classification  # noqa: E402
from caffe_gp.evaluation.classification_results import table  # noqa: E402
from caffe_gp.models import zoo  # noqa: E402

# Steps that are tried where none is given, in grey levels.
GREY_LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

EXAMPLES = """
examples:
  LeNet on MNIST (input: grey / 256), the paper's three neighbours, a curve over eps:
    run_gp_classify.py --prototxt lenet.prototxt --caffemodel lenet.caffemodel --scale 0.00390625 \\
              --train mnist-train --test mnist-test --eps -0.03 0.01 0.03 0.1 --out out
  eps chosen on 5000 training images, which are then no neighbours; the net should not have seen them either:
    run_gp_classify.py --prototxt P --caffemodel W --scale 0.00390625 --train mnist-train --test mnist-test \\
              --hold-out 5000 --out out
  everything that may be varied, in one run over one bank:
    run_gp_classify.py --prototxt P --caffemodel W --train cifar10-train --test cifar10-test --eps 0.5 1 2 \\
              --k 1 3 5 --features ip1 pool3 --gradient-at neighbour test --out out
  your own images, DIR/<class>/<image>:
    run_gp_classify.py --prototxt P --caffemodel W --train folder:TRAIN --test folder:TEST --eps 1 --out out

Any classifier's prototxt will do: deploy, train/val or as released. The first run computes the features of
the training images and keeps them in OUT/bank (--bank shares them between runs). Press Ctrl-C at any time;
the same command goes on where it stopped. OUT then holds results.json, table.md and index.html.

exit codes: 0 done, 2 bad input or options, 3 zero gradient, 4 engine, 130 interrupted, 1 anything else
"""


def parse(arguments: list[str]) -> tuple[Classification, bool]:
    """The command line as settings, and whether a page is wanted; DataError for images that are not there."""
    parser = argparse.ArgumentParser(
        prog="run_gp_classify.py",
        description="Classify a test set with a trained Caffe net, before and after guided perturbations "
        "towards the classes of the nearest training images.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_net(parser)
    group = parser.add_argument_group("images")
    names = f"{', '.join(sets.NAMES)}, or folder:DIR with a folder for each class"
    group.add_argument("--train", required=True, metavar="SET", help=f"where neighbours come from: {names}")
    group.add_argument("--test", required=True, metavar="SET", help="what is classified: the same names")
    group.add_argument("--data-root", metavar="DIR", help="default: what CAFFE_GP_DATA says, else data")
    group.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="only the first N test images (those of a folder are in the order of their classes)",
    )
    add_preprocessing(group)
    group = parser.add_argument_group("method")
    group.add_argument(
        "--eps",
        type=float,
        nargs="+",
        metavar="E",
        help="step sizes in units of the blob; all share one search and one backward pass (default: "
        f"{', '.join(f'{level:g}' for level in GREY_LEVELS)} grey levels, and --hold-out chooses)",
    )
    group.add_argument(
        "--k", type=int, nargs="+", metavar="K", help="neighbours, each of weight 1/K (default 3)"
    )
    group.add_argument(
        "--blob", default="data", help="blob to perturb: data (default) or an inner one, e.g. pool1"
    )
    group.add_argument(
        "--features",
        nargs="+",
        metavar="BLOB",
        help="blob whose values are compared (default: the one that the class scores are made from)",
    )
    group.add_argument(
        "--gradient-at",
        nargs="+",
        choices=classification.PLACES,
        metavar="PLACE",
        help="neighbour (default): the gradient at the training image, as the paper prints it; test: at the "
        "test image, towards the neighbour's class",
    )
    group.add_argument(
        "--hold-out",
        type=int,
        metavar="N",
        help="choose eps on N training images, drawn once for all, which are then no neighbours (default: "
        "none if --eps is given, else a tenth of the set, 5000 at most)",
    )
    group = parser.add_argument_group("output")
    group.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the run")
    group.add_argument(
        "--bank", type=Path, metavar="DIR", help="folder of features and gradients (default OUT/bank)"
    )
    group.add_argument("--no-page", action="store_true", help="results.json only, without index.html")
    group.add_argument("--quiet", action="store_true", help="print errors and the table only")
    group.add_argument(
        "--batch-size", type=int, default=100, metavar="N", help="images at once (default 100)"
    )
    options = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    page = not options.pop("no_page")
    _read_sets(options)
    if "eps" not in options:
        if options["blob"] != "data":
            parser.error(f"--eps is needed for blob '{options['blob']}': its units are its own")
        options["eps"] = [level * _scale(options) for level in GREY_LEVELS]
    options["command"] = " ".join(map(shlex.quote, ["run_gp_classify.py", *arguments]))
    return settings_from(parser, Classification, _tuples(options)), page


def _read_sets(options: dict[str, Any]) -> None:
    """Put the images in place of their names; part of the training set aside to choose eps on."""
    root = options.pop("data_root", None)
    train, test = (sets.get(options[name], root) for name in ("train", "test"))
    if np.array_equal(train.images, test.images):
        raise DataError(
            f"--train {options['train']} and --test {options['test']} are the same images: each would be its "
            "own nearest neighbour"
        )
    if "limit" in options:
        test = test.first(options.pop("limit"))
    number = options.pop("hold_out", 0 if "eps" in options else min(sets.TUNING, len(train) // 10))
    if number:
        train, options["tune"] = train.split(number)
    options.update(train=train, test=test)


def _scale(options: dict[str, Any]) -> float:
    if "scale" in options:
        return options["scale"]
    return zoo.get(options["model"]).feed.scale if "model" in options else 1.0


def _tuples(options: dict[str, Any]) -> dict[str, Any]:
    listed = ("k", "features", "gradient_at")
    return {name: tuple(value) if name in listed else value for name, value in options.items()}


def main(arguments: list[str]) -> int:
    """Run the tool; returns its exit code."""

    def work() -> None:
        settings, page = parse(arguments)
        evaluate = classification_page.evaluate_with_page if page else classification.evaluate
        if engines.resolve(settings.engine) == "bvlc":
            run = engines.run_guarded(evaluate, settings)
        else:
            run = evaluate(settings)
        print(table(run))
        print(f"more in {settings.out}")

    again = "The same command goes on where this one stopped."
    return finish(work, tool="run_gp_classify", on_interrupt=again)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
