"""``caffe_gp reproduce``: the paper's tables and figures, by name."""

from __future__ import annotations

import argparse
from pathlib import Path

from caffe_gp.cli import call, net_options, option_types, options
from caffe_gp.datasets import classification
from caffe_gp.errors import UsageError
from caffe_gp.experiments import suites
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.reproduce import EXPERIMENTS, OF_PAPER, reproduce

EXAMPLES = """
examples:
  caffe_gp reproduce table1                              the paper's six nets on the 346 images
  caffe_gp reproduce figure9                             no net and no images needed
  caffe_gp reproduce table1 table4 --suite digits        the digits net instead
  caffe_gp reproduce all --available --engine bvlc
  caffe_gp reproduce relatives --suite camvid --limit 60 other test-time methods beside GP (docs/relatives.md)

A stopped run resumes. OUT/SUITE/index.html lists the paper's claims with their verdicts; reports
are in OUT/SUITE/NAME/index.html: numbers and pictures beside the paper's.
"""

ON_INTERRUPT = options.RESUMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which experiments, of which nets and images, how."""
    parser.add_argument(
        "names",
        nargs="+",
        choices=[*EXPERIMENTS, "all"],
        metavar="NAME",
        help=f"{', '.join(EXPERIMENTS)}; or all: the paper's tables and figures",
    )
    parser.add_argument("--suite", choices=suites.NAMES, default="paper", help="which nets")
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="folder of the reports"
    )
    group = parser.add_argument_group("images")
    options.add_data_folder(group)
    options.add_subset(group)
    group.add_argument(
        "--tuning-limit", type=option_types.count, metavar="N", help="tune eps on N images only"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=SET",
        help="table6, figure11: take another set for mnist-train, mnist-test, cifar10-train or cifar10-test, "
        "such as cifar10-train=folder:DIR",
    )
    group = parser.add_argument_group("work")
    net_options.add_engine(group)
    net_options.add_precision(group)
    options.add_batch_size(group)
    options.add_workers(group)
    options.add_threads(group)
    options.add_quiet(group)


def work(args: argparse.Namespace) -> None:
    """Run the experiments; print each table and where its page is."""
    call.check_output(args.out)
    bench = Bench(
        suites.get(args.suite),
        args.out / args.suite,
        data_root=args.data_folder,
        ids=args.ids,
        available=args.available,
        limit=args.limit,
        engine=args.engine,
        device=args.device,
        precision=args.precision,
        workers=args.workers,
        threads=args.threads,
        batch_size=args.batch_size,
        quiet=args.quiet,
        command=args.command,
        tuning_limit=args.tuning_limit,
        stand_ins=_stand_ins(args.set),
    )
    names = list(OF_PAPER) if "all" in args.names else args.names
    pages = reproduce(names, bench)
    if not args.quiet:
        for page in pages:
            print(page.with_name("table.md").read_text(encoding="utf-8"))
            print(f"{page}\n")
        print(f"verdicts of all of them: {bench.out / 'index.html'}")


def _stand_ins(given: list[str]) -> dict[str, str]:
    """The pairs of ``--set``; UsageError for what is none or names no published set."""
    pairs = {}
    for text in given:
        name, _, other = text.partition("=")
        if not other or name not in classification.SOURCES_OF:
            known = ", ".join(classification.SOURCES_OF)
            raise UsageError(f"--set {text}: NAME=SET expected, NAME one of {known}")
        pairs[name] = other
    return pairs
