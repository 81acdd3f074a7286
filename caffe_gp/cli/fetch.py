"""``caffe_gp fetch models`` and ``caffe_gp fetch data``: get, check and list weights and data sets."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Callable, Sequence

from caffe_gp.cli import call, options
from caffe_gp.cli.parser import Parser
from caffe_gp.datasets import fetch as fetch_data
from caffe_gp.datasets.sources import find, published
from caffe_gp.errors import DataError, UsageError, WeightsError, printable
from caffe_gp.files import places
from caffe_gp.models import fetch as fetch_models
from caffe_gp.models import weights
from caffe_gp.surgery.param_shapes import param_shapes

EXAMPLES = """
examples:
  caffe_gp fetch models fcn-32s fcn-8s                          weights, by model
  caffe_gp fetch models all --yes-non-commercial                all of them
  caffe_gp fetch models crfasrnn-coco --from-dir ~/Downloads    take the file from there, download nothing
  caffe_gp fetch models --list                                  what there is, and what is here
  caffe_gp fetch models --verify                                read every file that is here again
  caffe_gp fetch data voc2012 sbd-lists                         what table 1 needs
  caffe_gp fetch data voc2012 --from-dir ~/data                 from a VOCdevkit or a tar that is there
  caffe_gp fetch data --list

A cut download continues where it stopped.
"""

ON_INTERRUPT = options.RESUMES

_TOOL = "caffe_gp fetch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is fetched, and the options of each."""
    kinds = parser.add_subparsers(dest="what", required=True, metavar="models|data", parser_class=Parser)
    models = kinds.add_parser("models", help="released weights", description="Get released weights.")
    models.add_argument("names", nargs="*", metavar="NAME", help="models, files, or 'all'")
    models.add_argument(
        "--yes-non-commercial", action="store_true", help="accept licences that forbid commercial use"
    )
    options.add_models_folder(models)
    models.set_defaults(fetch=_models)
    data = kinds.add_parser("data", help="data sets", description="Get data sets: download, check, unpack.")
    data.add_argument("names", nargs="*", metavar="NAME", help=_known())
    options.add_data_folder(data)
    data.set_defaults(fetch=_data)
    for kind in (models, data):
        kind.add_argument(
            "--from-dir",
            type=Path,
            metavar="DIR",
            help="take the files from this folder: as published, unpacked, or a mirror's format",
        )
        kind.add_argument("--verify", action="store_true", help="check what is here")
        kind.add_argument("--list", action="store_true", help="print a table: size, state, licence")
        options.add_quiet(kind)


def _known() -> str:
    try:
        return ", ".join(published())
    except DataError:  # said when it is used: weights can be fetched all the same
        return "see --list"


def work(args: argparse.Namespace) -> None:
    """Fetch, verify or list."""
    if not (args.names or args.list or args.verify):
        raise UsageError(f"name what to get, or see '{_TOOL} {args.what} --list'")
    args.fetch(args)


def _sayer(args: argparse.Namespace) -> Callable[[str], None]:
    return (lambda line: None) if args.quiet else (lambda line: print(printable(line)))


def _complain(message: str) -> None:
    print(f"{_TOOL}: {message}", file=sys.stderr)


# ---- weights


def _models(args: argparse.Namespace) -> None:
    everything = not args.names or "all" in args.names
    files = list(weights.released().values())
    if not everything:
        files = list({weights.find(name).name: weights.find(name) for name in args.names}.values())
    folder = (args.models_folder or places.models_folder()).expanduser()
    if args.list:
        _print_models(files, folder)
    elif args.verify:
        _verify_models(files, folder, everything, args)
    else:
        _get_models(files, folder, everything, args)


def _get_models(
    files: Sequence[weights.WeightsFile], folder: Path, everything: bool, args: argparse.Namespace
) -> None:
    """Fetch the files one after another; one that fails does not keep the others from coming."""
    call.check_output(folder, "--models-folder")
    say = _sayer(args)
    failed, skipped = [], []
    for file in files:
        here = weights.status(file.name, folder) != "missing"
        if everything and not (here or args.from_dir or file.is_published):
            say(f"{file.name}: published nowhere, it only comes from a folder of yours (--from-dir)")
            continue
        if everything and file.non_commercial and not (here or args.from_dir or args.yes_non_commercial):
            skipped.append(file)
            continue
        try:
            path = fetch_models.fetch(
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
            _complain(f"{error}\n")
            failed.append(file.name)
    for file in skipped:
        _complain(
            f"{file.name}: NOT downloaded. Licence: {file.licence}. --yes-non-commercial says that you "
            "accept this"
        )
    if failed:
        raise WeightsError(f"{len(failed)} of {len(files)} files could not be got: {', '.join(failed)}")


def _verify_models(
    files: Sequence[weights.WeightsFile], folder: Path, everything: bool, args: argparse.Namespace
) -> None:
    """Read the files that are there from end to end. Named ones have to be there."""
    failed = []
    here = [file for file in files if not everything or weights.status(file.name, folder) != "missing"]
    if not here:
        raise WeightsError(f"{folder}: no weights are here, so there is nothing to verify")
    for file in here:
        try:
            pin = fetch_models.verify(file.name, folder)
            _sayer(args)(f"{file.name}: right. sha256 {pin.sha256}, pinned {pin.date}, from {pin.url}")
        except WeightsError as error:
            _complain(str(error))
            failed.append(file.name)
    if failed:
        raise WeightsError(f"not right: {', '.join(failed)}")


def _print_models(files: Sequence[weights.WeightsFile], folder: Path) -> None:
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
    _print_table(folder, rows)


def expected_size(file: weights.WeightsFile) -> int:
    """Bytes of the values that the file has to hold; shared parameters are in it once for every layer."""
    shapes = param_shapes(file.models[0].net()).values()
    return 4 * sum(math.prod(shape) for blobs in shapes for shape in blobs)


# ---- data sets


def _data(args: argparse.Namespace) -> None:
    names = [find(name).name for name in args.names]
    root = (args.data_folder or places.data_folder()).expanduser()
    if args.list:
        _print_data(names or list(published()), root)
    elif args.verify:
        here = [name for name, source in published().items() if not fetch_data.what_is_missing(source, root)]
        if not names and not here:
            raise DataError(f"{root}: no data set is here, so there is nothing to verify")
        for name in names or here:
            read = fetch_data.verify(name, root)
            _sayer(args)(f"{name}: right" + (f", {read} images read" if read else ""))
    else:
        _get_data(names, root, args)


def _get_data(names: Sequence[str], root: Path, args: argparse.Namespace) -> None:
    """Fetch one after another; one that fails does not keep the others from coming."""
    call.check_output(root, "--data-folder")
    failed = []
    for name in names:
        try:
            fetch_data.fetch(name, root, from_dir=args.from_dir, progress=not args.quiet, say=_sayer(args))
        except DataError as error:
            if len(names) == 1:
                raise
            _complain(f"{error}\n")
            failed.append(name)
    if failed:
        raise DataError(f"{len(failed)} of {len(names)} could not be got: {', '.join(failed)}")


def _print_data(names: Sequence[str], root: Path) -> None:
    """One line a source."""
    rows = [("name", "size", "state", "what", "licence")]
    for name in names:
        source = find(name)
        size = source.archive.size if source.archive is not None else None
        state = "missing" if fetch_data.what_is_missing(source, root) else "here"
        rows.append((name, f"{size / 1e9:.1f} GB" if size else "", state, source.title, source.licence))
    _print_table(root, rows)


def _print_table(folder: Path, rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(f"in {folder}:")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
