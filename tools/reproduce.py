#!/usr/bin/env python3
"""The paper's tables and figures, by name: numbers, pictures and a page beside the paper's own."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from caffe_gp.cli.exit_codes import finish  # noqa: E402

EXAMPLES = """
examples:
  tools/reproduce.py table1                              the paper's six nets on the 346 images
  tools/reproduce.py table1 table4 --suite voc-small     two small nets instead
  tools/reproduce.py all --available --engine bvlc

A stopped run goes on where it stopped. Reports are in OUT/SUITE/NAME/index.html.
"""


def main() -> int:
    from caffe_gp.cli.options import add_engine
    from caffe_gp.experiments import suites
    from caffe_gp.experiments.reproduce import EXPERIMENTS

    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"{', '.join(EXPERIMENTS)} or all")
    parser.add_argument("--suite", choices=suites.NAMES, default="paper", help="which nets (default: paper)")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder of the reports")
    parser.add_argument("--data-root", type=Path, help="folder of the data (default: CAFFE_GP_DATA or data)")
    parser.add_argument("--list", type=Path, help="text file with the ids to use")
    parser.add_argument("--available", action="store_true", help="use the images that are there")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    parser.add_argument("--tuning-limit", type=int, metavar="N", help="tune eps on N images only")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=SET",
        help="table6, figure11: take another set for mnist-train, mnist-test, cifar10-train or cifar10-test, "
        "such as cifar10-train=folder:DIR",
    )
    add_engine(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--threads", type=int, help="CPU threads of each process")
    parser.add_argument("--batch-size", type=int, default=1, help="images of one size in a pass")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args()
    return finish(
        lambda: _run(args), tool="reproduce", on_interrupt="The same command goes on where this one stopped."
    )


def _run(args: argparse.Namespace) -> None:
    from caffe_gp.experiments import suites
    from caffe_gp.experiments.bench import Context
    from caffe_gp.experiments.reproduce import EXPERIMENTS, reproduce

    context = Context(
        suites.get(args.suite),
        args.out / args.suite,
        data_root=args.data_root,
        ids=args.list.read_text().split() if args.list else None,
        available=args.available,
        limit=args.limit,
        engine=args.engine,
        device=args.device,
        workers=args.workers,
        threads=args.threads,
        batch_size=args.batch_size,
        quiet=args.quiet,
        command=shlex.join(["tools/reproduce.py", *sys.argv[1:]]),
        tuning_limit=args.tuning_limit,
        stand_ins=_stand_ins(args.set),
    )
    names = list(EXPERIMENTS) if "all" in args.names else args.names
    for page in reproduce(names, context):
        print(page.with_name("table.md").read_text())
        print(f"{page}\n")


def _stand_ins(given: list[str]) -> dict[str, str]:
    """The pairs of ``--set``; DataError for what is none or names no published set."""
    from caffe_gp.datasets import classification
    from caffe_gp.errors import DataError

    for text in given:
        name, equals, other = text.partition("=")
        if not other or name not in classification.SOURCES_OF:
            known = ", ".join(classification.SOURCES_OF)
            raise DataError(f"--set {text}: NAME=SET expected, NAME one of {known}")
    return {name: other for name, _, other in (text.partition("=") for text in given)}


if __name__ == "__main__":
    sys.exit(main())
