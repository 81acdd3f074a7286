"""``caffe_gp classify``: perturbations of a classifier's test images towards their neighbours' classes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp.cli import call, net_options, option_types, options
from caffe_gp.datasets import classification as sets
from caffe_gp.errors import DataError, UsageError, printable
from caffe_gp.evaluation import classification, classification_page
from caffe_gp.evaluation.classification import Classification
from caffe_gp.evaluation.classification_results import table

# Steps that are tried where none is given, in grey levels.
GREY_LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

EXAMPLES = """
examples:
  LeNet on MNIST (input: grey / 256), the paper's three neighbours, a curve over eps:
    caffe_gp classify --prototxt lenet.prototxt --caffemodel lenet.caffemodel --scale 0.00390625 \\
              --train mnist-train --test mnist-test --eps -0.03 0.01 0.03 0.1 --out out
  eps chosen on 5000 training images, which are then no neighbours; the net should not have seen them either:
    caffe_gp classify --prototxt P --caffemodel W --scale 0.00390625 --train mnist-train --test mnist-test \\
              --hold-out 5000 --out out
  everything that may be varied, in one run over one bank:
    caffe_gp classify --prototxt P --caffemodel W --train cifar10-train --test cifar10-test --eps 0.5 1 2 \\
              --k 1 3 5 --features ip1 pool3 --gradient-at neighbour test --out out
  your own images, DIR/<class>/<image>:
    caffe_gp classify --prototxt P --caffemodel W --train folder:TRAIN --test folder:TEST --eps 1 --out out

Any classifier's prototxt will do: deploy, train/val or as released. The first run computes the features of
the training images and keeps them in OUT/bank (--bank shares them between runs). Press Ctrl-C at any time;
the same command resumes. OUT then holds results.json, table.md and index.html.
"""

ON_INTERRUPT = options.RESUMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The net, the images, the method, the output, the work."""
    net_options.add_net(parser)
    group = parser.add_argument_group("images")
    names = f"{', '.join(sets.NAMES)}, or folder:DIR with a folder for each class"
    group.add_argument("--train", required=True, metavar="SET", help=f"where neighbours come from: {names}")
    group.add_argument("--test", required=True, metavar="SET", help="what is classified: the same names")
    options.add_data_folder(group)
    group.add_argument(
        "--limit",
        type=option_types.count,
        metavar="N",
        help="only the first N test images (those of a folder are in the order of their classes)",
    )
    net_options.add_preprocessing(group)
    _add_method(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the run")
    group.add_argument(
        "--bank", type=Path, metavar="DIR", help="folder of features and gradients (default: OUT/bank)"
    )
    options.add_page(group)
    options.add_quiet(group)
    options.add_work(parser, batch_size=100)


def _add_method(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("method")
    group.add_argument(
        "--eps",
        type=option_types.number,
        nargs="+",
        metavar="E",
        help="step sizes in units of the blob; all share one search and one backward pass (default: "
        f"{', '.join(f'{level:g}' for level in GREY_LEVELS)} grey levels, and --hold-out chooses)",
    )
    group.add_argument(
        "--k",
        type=option_types.count,
        nargs="+",
        metavar="K",
        help="neighbours, each of weight 1/K (default: 3)",
    )
    net_options.add_blob(group)
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
        help="neighbour: the gradient at the training image, as the paper prints it; test: at the test "
        "image, towards the neighbour's class (default: neighbour)",
    )
    group.add_argument(
        "--hold-out",
        type=option_types.count_or_none,
        metavar="N",
        help="choose eps on N training images, drawn once for all, which are then no neighbours (default: "
        "none if --eps is given, else a tenth of the set, 5000 at most)",
    )


def work(args: argparse.Namespace) -> None:
    """Classify what the folder does not hold yet; print the table."""
    given = call.given(args)
    evaluate = classification.evaluate if given.pop("no_page") else classification_page.evaluate_with_page
    settings = _settings(given)
    call.check_output(settings.out)
    if settings.bank is not None:
        call.check_output(settings.bank, "--bank")
    run = call.on_engine(settings.engine, evaluate, settings)
    if not settings.quiet:
        print(printable(table(run)))
        print(f"more in {settings.out}")


def _settings(given: dict[str, Any]) -> Classification:
    """DataError for images that are not there."""
    _read_sets(given)
    has_eps = "eps" in given
    if not has_eps:
        if given["blob"] != "data":
            raise UsageError(f"--eps is needed for blob '{given['blob']}': its units are its own")
        given["eps"] = list(GREY_LEVELS)
    for name in ("k", "features", "gradient_at"):
        if name in given:
            given[name] = tuple(given[name])
    settings = call.settings_from(Classification, given)
    if not has_eps:
        grey_level = settings.source().preprocess.grey_level
        settings.eps = [level * grey_level for level in GREY_LEVELS]
    return settings


def _read_sets(given: dict[str, Any]) -> None:
    """Put the images in place of their names; part of the training set aside to choose eps on."""
    root = given.pop("data_folder", None)
    train, test = (sets.get(given[name], root) for name in ("train", "test"))
    if np.array_equal(train.images, test.images):
        raise DataError(
            f"--train {given['train']} and --test {given['test']} are the same images: each would be its "
            "own nearest neighbour"
        )
    if "limit" in given:
        test = test.first(given.pop("limit"))
    number = given.pop("hold_out", 0 if "eps" in given else min(sets.TUNING, len(train) // 10))
    if number:
        train, given["tune"] = train.split(number)
    given.update(train=train, test=test)
