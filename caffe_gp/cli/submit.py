"""``caffe_gp submit``: table 3 on VOC2012 test, packed as its evaluation server wants it, base and GP."""

from __future__ import annotations

import argparse
from pathlib import Path

from caffe_gp.cli import call, net_options, option_types, options
from caffe_gp.datasets import segmentation
from caffe_gp.datasets.voc_submission import write_archive
from caffe_gp.evaluation.segmentation import Evaluation, evaluate
from caffe_gp.models import zoo

EXAMPLES = """
examples:
  caffe_gp submit --model fcn-8s                  reports/voc-test/fcn-8s/{base,eps_0.7}.tgz
  caffe_gp submit --model fcn-8s --device cuda
"""

ON_INTERRUPT = options.RESUMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The net, the data, the output."""
    parser.add_argument(
        "--model", choices=[*zoo.named()], default="fcn-8s", metavar="NAME", help="a net by its name"
    )
    parser.add_argument(
        "--eps",
        type=option_types.number,
        metavar="E",
        help="step at the input (default: the paper's for the model)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("reports/voc-test"), metavar="DIR", help="folder of the archives"
    )
    options.add_data_folder(parser)
    net_options.add_engine(parser)
    options.add_workers(parser)
    options.add_quiet(parser)


def work(args: argparse.Namespace) -> None:
    """Label the 1456 images; print the two archives."""
    call.check_output(args.out)
    data = segmentation.get("voc2012-test", args.data_folder).check()
    folder = args.out / args.model
    settings = Evaluation.of_model(
        args.model,
        data=data,
        out=folder / "run",
        eps=None if args.eps is None else [args.eps],
        save=("labels",),
        engine=args.engine,
        device=args.device,
        workers=args.workers,
        quiet=args.quiet,
        command=args.command,
    )
    run = call.on_engine(args.engine, evaluate, settings)
    for variant in ("base", f"eps_{run.eps[0]:g}"):
        archive = write_archive(data, run.folder / "labels" / variant, folder / f"{variant}.tgz")
        if not args.quiet:
            print(archive)
