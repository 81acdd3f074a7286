"""``caffe_gp train``: a net by its solver file, or one of this project's nets again."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Callable

from caffe_gp import engines
from caffe_gp.cli import call, net_options, option_types, options
from caffe_gp.cli.extras import need
from caffe_gp.errors import UsageError
from caffe_gp.files import places

EXAMPLES = """
examples:
  train by a solver file, or resume an earlier run (CAFFE_GP_DATA: the folder that holds the data sets):
    caffe_gp train --solver solver.prototxt
  the same recipe with another seed, in another folder:
    caffe_gp train --solver solver.prototxt --seed 2 --out runs/second
  fine-tune:
    caffe_gp train --solver solver.prototxt --weights vgg16.caffemodel
  this project's nets: digits (about 10 minutes on two cores), lenet, cifar10, camvid (43 minutes on one),
  and camvid-bn, the last with its batch normalisation put back (about 1 minute):
    caffe_gp train digits --out mine
    caffe_gp train lenet --train folder:DIR1 --test folder:DIR2

Paths in a solver file are relative to the current folder, as in Caffe. Beside the snapshots (snapshot_prefix)
lie PREFIX_log.json, the losses and test scores, and PREFIX_curves.png, a picture of them. Ctrl-C writes a
snapshot; the same command then resumes from the newest one. Plain data layers begin again at their first
batch then, as Caffe's do; Python data layers with `batch` and `position` go on with the samples that they
would have given.
"""

ON_INTERRUPT = "The same command resumes from the snapshot."

_NETS = ("digits", "lenet", "cifar10", "camvid", "camvid-bn")
_HERE = ("digits", "camvid", "camvid-bn")  # on the embedded Caffe and the CPU alone
_CLASSIFIERS = ("lenet", "cifar10")
# Option -> what it can be given for; '--solver' stands for a solver file.
_ONLY_FOR = {
    "weights": ("--solver",),
    "snapshot": ("--solver",),
    "data": ("--solver",),
    "prototxts": _NETS,
    "train": _CLASSIFIERS,
    "test": _CLASSIFIERS,
    "seed": ("--solver", *_CLASSIFIERS),
    "data_folder": ("--solver", *_CLASSIFIERS, "camvid", "camvid-bn"),
    "max_iter": tuple(net for net in ("--solver", *_NETS) if net != "camvid-bn"),  # which learns nothing
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to train, from what, on what, where to."""
    parser.add_argument(
        "net", nargs="?", choices=_NETS, metavar="NET", help=f"train {', '.join(_NETS)} again"
    )
    parser.add_argument("--solver", metavar="FILE", help="solver prototxt, in place of NET")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--weights",
        metavar="FILE",
        help="with --solver: caffemodel to start from, as for fine-tuning; an earlier run's snapshot goes "
        "before it",
    )
    start.add_argument(
        "--snapshot",
        metavar="FILE",
        help="with --solver: solverstate to resume from (default: the newest of the prefix)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the snapshots; with NET for NET.caffemodel, training.json and training/ "
        "(default: the solver's own; with NET its folder among the weights)",
    )
    parser.add_argument(
        "--prototxts",
        type=Path,
        metavar="DIR",
        help="with NET: folder with train, deploy and solver.prototxt (default: the net's)",
    )
    parser.add_argument(
        "--max-iter", type=option_types.count, metavar="N", help="in place of the solver's max_iter"
    )
    parser.add_argument(
        "--seed",
        type=option_types.seed,
        metavar="N",
        help="in place of random_seed, and of `seed` in Python layers' JSON",
    )
    parser.add_argument(
        "--data", metavar="NAME", help="with --solver: in place of `data` in Python layers' JSON"
    )
    parser.add_argument(
        "--train", metavar="SET", help="lenet, cifar10: another training set, like folder:DIR"
    )
    parser.add_argument("--test", metavar="SET", help="lenet, cifar10: another test set")
    options.add_data_folder(parser)
    net_options.add_defines(parser)
    net_options.add_allowed_modules(parser)
    net_options.add_max_memory(parser)
    net_options.add_engine(parser)
    options.add_quiet(parser)


def work(args: argparse.Namespace) -> None:
    """Train; print where the weights are and how good."""
    _check(args)
    if args.out is not None or args.net is not None:
        call.check_output(_out(args))
    call.sleeping_threads()
    if args.data_folder is not None:
        # Data layers read it there: a prototxt has no place for a path of this machine.
        os.environ[places.DATA_VARIABLE] = str(args.data_folder)
    if args.net in _HERE:
        said = _TRAIN[args.net](args)
    else:
        chosen = engines.resolve(args.engine)
        os.environ[engines.ENGINE_VARIABLE] = chosen  # Python layers are written for the engine in use
        train = _by_solver if args.net is None else _classifier
        said = call.on_engine(chosen, train, args, chosen)
    if not args.quiet:
        print(said)


def _check(args: argparse.Namespace) -> None:
    if (args.net is None) == (args.solver is None):
        raise UsageError(f"give one of --solver FILE and a net ({', '.join(_NETS)})")
    what = args.net or "--solver"
    for option, fitting in _ONLY_FOR.items():
        if getattr(args, option) is not None and what not in fitting:
            raise UsageError(f"--{option.replace('_', '-')} goes with {', '.join(fitting)}, not with {what}")
    if (args.train is None) != (args.test is None):
        raise UsageError("--train and --test go together")
    chosen = args.engine == "bvlc" or args.device != engines.default_device()
    if args.net in _HERE and chosen:
        raise UsageError(f"{args.net} is trained by the embedded Caffe on the CPU: no --engine, no --device")


def _by_solver(args: argparse.Namespace, engine: str) -> str:
    """Train by a solver file; the weights file, the last loss and test scores, and the time, in one line."""
    from caffe_gp.training import trainer
    from caffe_gp.training.recipe import check_outputs, read_recipe

    recipe = read_recipe(
        args.solver,
        out=args.out,
        iterations=args.max_iter,
        defines=dict(args.defines),
        seed=args.seed,
        data=args.data,
    )
    check_outputs(recipe, args.solver, args.out)
    trainer.check_python_layers(recipe, args.solver, args.allow_python_layers)
    call.check_output(Path(recipe.snapshot_prefix).parent)
    run = trainer.train(
        recipe,
        source=args.solver,
        engine=engine,
        device=args.device,
        weights=args.weights,
        snapshot=args.snapshot,
        quiet=args.quiet,
    )
    said = [f"loss {run.loss[-1][1]:.4f}"] if run.loss else []
    said += [f"test {name} {value:.4f}" for name, value in (run.tests[-1][1].items() if run.tests else ())]
    return f"{run.snapshot(recipe.max_iter)}: {', '.join([*said, _minutes(run.seconds)])}"


def _classifier(args: argparse.Namespace, engine: str) -> str:
    from caffe_gp.training import classifier

    record = classifier.train(
        args.net,
        _prototxts(args),
        _out(args),
        data=None if args.train is None else (args.train, args.test),
        seed=args.seed,
        steps=args.max_iter,
        engine=engine,
        device=args.device,
        quiet=args.quiet,
    )
    test = record["test"]
    return (
        f"{_out(args) / record['weights']}: {test['correct']} of {test['images']} test images, "
        f"{100 * test['accuracy']:.2f} %, trained in {_minutes(record['seconds'])}"
    )


def _digits(args: argparse.Namespace) -> str:
    from caffe_gp.training import digits

    need("demo", "the training of the digits net")
    record = digits.train(_prototxts(args), _out(args), args.max_iter, args.quiet)
    return _segmentation_line(_out(args), record, "scenes")


def _camvid(args: argparse.Namespace) -> str:
    from caffe_gp.training import camvid

    record = camvid.train(_prototxts(args), _out(args), args.max_iter, args.quiet)
    return _segmentation_line(_out(args), record, "images")


def _camvid_bn(args: argparse.Namespace) -> str:
    from caffe_gp.training import camvid_bn

    record = camvid_bn.make(_prototxts(args), _out(args), args.quiet)
    images, source = record["statistics"]["images"], record["of"]["weights"]
    return (
        f"{_out(args) / record['weights']}: statistics of {images} training images; its scores differ from "
        f"those of {source} by {record['largest_difference_of_scores']:.1g} at most"
    )


_TRAIN: dict[str, Callable[[argparse.Namespace], str]] = {
    "digits": _digits,
    "camvid": _camvid,
    "camvid-bn": _camvid_bn,
}


def _segmentation_line(out: Path, record: dict[str, Any], unit: str) -> str:
    score = record["validation"]
    return (
        f"{out / record['weights']}: mean IU {100 * score['mean_iu']:.2f} % on {score[unit]} "
        f"validation {unit}, trained in {_minutes(record['seconds'])}"
    )


def _prototxts(args: argparse.Namespace) -> Path:
    return Path(args.prototxts or places.shipped("prototxt", args.net))


def _out(args: argparse.Namespace) -> Path:
    return Path(args.out or places.models_folder() / args.net)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"
