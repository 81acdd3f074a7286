"""The command ``caffe_gp`` (or ``python -m caffe_gp``)."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Sequence

from caffe_gp.cli.exit_codes import finish

EXAMPLES = """
examples:
  caffe_gp inspect net.caffemodel           layers, shapes, counts, version, sha256, which known nets it fits
  caffe_gp inspect deploy.prototxt --json
  caffe_gp doctor                           engines, data and weights found; what each experiment needs

exit codes: 0 done, 2 a file that is damaged or of no known kind, 4 PyTorch is missing, 1 anything else
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run the subcommand; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="caffe_gp",
        description="Caffe nets and guided perturbations of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    inspect = commands.add_parser("inspect", help="say what a file is")
    inspect.add_argument(
        "file", help="a prototxt, caffemodel, .h5, binaryproto, solverstate, .pth, .npz or .mat"
    )
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(work=_inspect)
    doctor = commands.add_parser("doctor", help="say what is here and what each experiment needs")
    doctor.add_argument("--data-root", type=Path, help="folder of the data sets")
    doctor.set_defaults(work=_doctor)
    args = parser.parse_args(argv)
    return finish(lambda: args.work(args), tool=f"caffe_gp {args.command}")


def _inspect(args: argparse.Namespace) -> None:
    from caffe_gp.cli.inspect import describe_file

    description = describe_file(args.file)
    print(json.dumps(description.as_dict(), indent=1) if args.json else description.text())


def _doctor(args: argparse.Namespace) -> None:
    from caffe_gp.cli.doctor import report

    print(report(args.data_root))


if __name__ == "__main__":
    sys.exit(main())
