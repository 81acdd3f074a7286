#!/usr/bin/env python3
"""Get the data sets of the paper: download, check and unpack them, or link to where they are.

examples:
  tools/fetch_data.py --list                             what there is, its size, licence, and what is here
  tools/fetch_data.py voc2012 sbd-lists                  what table 1 needs
  tools/fetch_data.py voc2012 --from-dir ~/data          from a VOCdevkit or a tar that is already there
  tools/fetch_data.py --verify
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.datasets import fetch  # noqa: E402
from caffe_gp.datasets.sources import SOURCES, find  # noqa: E402
from caffe_gp.errors import DataError  # noqa: E402
from caffe_gp.files import places  # noqa: E402


def main() -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(SOURCES)}")
    parser.add_argument("--from-dir", type=Path, help="take the archive, lists or unpacked folders from here")
    parser.add_argument("--data-root", type=Path, help="where they go (default: $CAFFE_GP_DATA or data)")
    parser.add_argument("--verify", action="store_true", help="check what is here against what was published")
    parser.add_argument("--list", action="store_true", help="print a table")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    args = parser.parse_args()
    if not (args.names or args.list or args.verify):
        parser.error(f"name data sets ({', '.join(SOURCES)}), or --list")
    root = (args.data_root or places.data_folder()).expanduser()

    def work() -> None:
        names = [find(name).name for name in args.names]
        if args.list:
            print_table(root)
        elif args.verify:
            verify(names, root, args.quiet)
        else:
            get(names, root, args)

    return finish(work, tool="fetch_data.py", on_interrupt="Run it again: it goes on where it stopped.")


def get(names: list[str], root: Path, args: argparse.Namespace) -> None:
    """Fetch one after another; one that fails does not keep the others from coming."""
    failed = []
    for name in names:
        say = (lambda line: None) if args.quiet else print
        try:
            fetch.fetch(name, root, from_dir=args.from_dir, progress=not args.quiet, say=say)
        except DataError as error:
            if len(names) == 1:
                raise
            print(f"fetch_data.py: {error}\n", file=sys.stderr)
            failed.append(name)
    if failed:
        raise DataError(f"{len(failed)} of {len(names)} could not be got: {', '.join(failed)}")


def verify(names: list[str], root: Path, quiet: bool) -> None:
    """Check the named ones, or all that are here."""
    here = [name for name, source in SOURCES.items() if not fetch.what_is_missing(source, root)]
    for name in names or here:
        read = fetch.verify(name, root)
        if not quiet:
            print(f"{name}: right" + (f", {read} images read" if read else ""))


def print_table(root: Path) -> None:
    """One line a source."""
    rows = [("name", "size", "state", "what", "licence")]
    for name, source in SOURCES.items():
        size = source.archive.size if source.archive is not None else None
        state = "missing" if fetch.what_is_missing(source, root) else "here"
        rows.append((name, f"{size / 1e9:.1f} GB" if size else "", state, source.title, source.licence))
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(f"in {root}:")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
