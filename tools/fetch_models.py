#!/usr/bin/env python3
"""Get the released weights of the nets in the paper, check them, or list them.

examples:
  fetch_models.py fcn-32s fcn-8s                          by model
  fetch_models.py all --yes-non-commercial                everything
  fetch_models.py crfasrnn-coco --from-dir ~/Downloads    take the file from there; nothing is downloaded
  fetch_models.py --list                                  what there is, and what is here
  fetch_models.py --verify                                read every file that is here again
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.errors import WeightsError  # noqa: E402
from caffe_gp.files import places  # noqa: E402
from caffe_gp.models import fetch, weights  # noqa: E402
from caffe_gp.surgery.param_shapes import param_shapes  # noqa: E402


def main() -> int:
    """Parse the arguments and do what they say. Exit code 0 when every file asked for is here and right."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="models, files, or 'all'")
    add("--from-dir", type=Path, help="take the files from this folder, in Caffe's or a mirror's format")
    add("--verify", action="store_true", help="compare what is here with hashes, nets and pins")
    add("--list", action="store_true", help="print a table: file, models, size, state, licence")
    add("--folder", type=Path, help="of the weights (default: $CAFFE_GP_MODELS or models/)")
    add("--yes-non-commercial", action="store_true", help="accept licences that forbid commercial use")
    add("--quiet", action="store_true", help="print errors only")
    args = parser.parse_args()
    if not (args.names or args.list or args.verify):
        parser.error("name models or files, or 'all'")

    def work() -> None:
        everything = not args.names or "all" in args.names
        files = list(weights.MANIFEST.values())
        if not everything:
            files = list({weights.find(name).name: weights.find(name) for name in args.names}.values())
        folder = (args.folder or places.models_folder()).expanduser()
        if args.list:
            print_table(files, folder)
        elif args.verify:
            verify(files, folder, everything, args.quiet)
        else:
            get(files, folder, everything, args)

    return finish(work, tool="fetch_models.py", on_interrupt="Run it again: it goes on where it stopped.")


def get(
    files: list[weights.WeightsFile], folder: Path, everything: bool, args: argparse.Namespace
) -> None:
    """Fetch the files one after another; one that fails does not keep the others from coming."""
    say = (lambda line: None) if args.quiet else print
    failed, skipped = [], []
    for file in files:
        here = weights.status(file.name, folder) != "missing"
        if everything and file.non_commercial and not (here or args.from_dir or args.yes_non_commercial):
            skipped.append(file)
            continue
        if everything and not (here or args.from_dir or file.is_published):
            say(f"{file.name}: left out. {file.note}")
            continue
        try:
            path = fetch.fetch(
                file.name,
                folder,
                from_dir=args.from_dir,
                accept_non_commercial=args.yes_non_commercial,
                progress=not args.quiet,
                say=say,
            )
            say(f"{path}")
        except WeightsError as error:
            if len(files) == 1:
                raise
            print(f"fetch_models.py: {error}\n", file=sys.stderr)
            failed.append(file.name)
    for file in skipped:
        print(
            f"fetch_models.py: {file.name}: NOT downloaded. Licence: {file.licence}. --yes-non-commercial "
            "says that you accept this",
            file=sys.stderr,
        )
    if failed:
        raise WeightsError(f"{len(failed)} of {len(files)} files could not be got: {', '.join(failed)}")


def verify(files: list[weights.WeightsFile], folder: Path, everything: bool, quiet: bool) -> None:
    """Read the files that are there from end to end. Named ones have to be there."""
    failed = []
    for file in files:
        if everything and weights.status(file.name, folder) == "missing":
            continue
        try:
            pin = fetch.verify(file.name, folder)
            if not quiet:
                print(f"{file.name}: right. sha256 {pin.sha256}, pinned {pin.date}, from {pin.url}")
        except WeightsError as error:
            print(f"fetch_models.py: {error}", file=sys.stderr)
            failed.append(file.name)
    if failed:
        raise WeightsError(f"not right: {', '.join(failed)}")


def print_table(files: list[weights.WeightsFile], folder: Path) -> None:
    """One line a file. '~' marks a size that follows from the net."""
    rows = [("file", "models", "size", "state", "licence")]
    for file in files:
        path = weights.path_of(file.name, folder)
        if path.is_file():
            size = f"{path.stat().st_size / 1e6:.0f} MB"
        else:
            size = f"{file.size / 1e6:.0f} MB" if file.size else f"~{expected_size(file) / 1e6:.0f} MB"
        models = ", ".join(sorted(model.name for model in file.models))
        licence = file.licence.split(";")[0].split(" (")[0]
        rows.append((file.name, models, size, weights.status(file.name, folder), licence))
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(f"in {folder}:")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def expected_size(file: weights.WeightsFile) -> int:
    """Bytes of the values that the file has to hold; shared parameters are in it once for every layer."""
    shapes = param_shapes(file.models[0].net()).values()
    return 4 * sum(math.prod(shape) for blobs in shapes for shape in blobs)


if __name__ == "__main__":
    sys.exit(main())
