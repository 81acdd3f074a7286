"""Options that subcommands share: one name, one meaning, one default for each (nets': ``net_options``)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Callable, Sequence

from caffe_gp import engines
from caffe_gp.cli import option_types
from caffe_gp.errors import CaffeGPError
from caffe_gp.evaluation.image_outputs import SAVE_CHOICES
from caffe_gp.files import places
from caffe_gp.gp.adapt import TENT_RATE, TENT_STEPS
from caffe_gp.images.corruptions import KINDS
from caffe_gp.surgery.batch_norms import ADAPTATIONS

RESUMES = "The same command resumes where this one stopped."

# An ArgumentParser or a group of its options.
Options = Any


def add_data_folder(group: Options) -> None:
    """--data-folder."""
    group.add_argument(
        "--data-folder",
        type=Path,
        metavar="DIR",
        help=f"folder of the data sets (default: {places.DATA_VARIABLE}, else {_shown(places.data_folder)})",
    )


def add_models_folder(group: Options) -> None:
    """--models-folder."""
    group.add_argument(
        "--models-folder",
        type=Path,
        metavar="DIR",
        help=f"folder of weights (default: {places.MODELS_VARIABLE}, else {_shown(places.models_folder)})",
    )


def _shown(folder: Callable[[], Path]) -> str:
    """A default folder for a help text, which must not fail."""
    try:
        return str(folder())
    except CaffeGPError:
        return "none"


def add_subset(group: Options) -> None:
    """--ids, --limit, --available: which images of a set."""
    group.add_argument(
        "--ids", type=Path, metavar="FILE", help="a list: only the images whose ids (or paths) it holds"
    )
    group.add_argument("--limit", type=option_types.count, metavar="N", help="only the first N images")
    group.add_argument("--available", action="store_true", help="only the images that are there")


def add_work(parser: argparse.ArgumentParser, batch_size: int = 1) -> None:
    """--batch-size, --workers, --threads, --devices, --cluster."""
    group = parser.add_argument_group("work")
    add_batch_size(group, batch_size)
    add_workers(group)
    add_threads(group)
    group.add_argument(
        "--devices",
        type=option_types.devices,
        metavar="I,...",
        help="CUDA devices, one worker each, e.g. 0,1",
    )
    group.add_argument("--cluster", metavar="WHERE", help="a Ray cluster: local, auto or ray://host:port")


def add_save(group: Options, default: Sequence[str]) -> None:
    """--save."""
    group.add_argument(
        "--save",
        type=option_types.kinds,
        default=tuple(default) or ("none",),
        metavar="KIND,...",
        help=f"what to write of every image: any of {','.join(SAVE_CHOICES)}, or none",
    )


def add_switch(group: Options) -> None:
    """--switch."""
    group.add_argument(
        "--switch",
        action="store_true",
        help="score as well, at each pixel, the label of the surer of both passes",
    )


def add_relatives(parser: argparse.ArgumentParser) -> None:
    """--average, --corrupt, --adapt, --tent-steps, --tent-rate."""
    group = parser.add_argument_group("test-time methods beside GP (docs/relatives.md)")
    group.add_argument(
        "--average",
        nargs="+",
        metavar="VIEW",
        help="average the probabilities of further views, GP on each: flip, or a scale like 0.75",
    )
    group.add_argument(
        "--corrupt",
        metavar="KIND:S",
        help=f"corrupt every image first: {', '.join(KINDS)}, of strength 1 to 5 as in ImageNet-C",
    )
    group.add_argument(
        "--adapt",
        choices=ADAPTATIONS,
        help="nets with BatchNorm, image by image: bn takes its statistics, tent also descends the entropy "
        "over the Scale layers; the weights are restored",
    )
    group.add_argument(
        "--tent-steps",
        type=option_types.count,
        metavar="N",
        help=f"of --adapt tent: steps of Adam (default: {TENT_STEPS})",
    )
    group.add_argument(
        "--tent-rate",
        type=option_types.number,
        metavar="F",
        help=f"of --adapt tent: their rate (default: {TENT_RATE:g})",
    )


def add_crf(group: Options) -> None:
    """--crf."""
    group.add_argument(
        "--crf",
        metavar="PRESET",
        help="label maps behind a dense CRF too: deeplab, ... (docs/crf.md), or none (default: none)",
    )


def add_batch_size(group: Options, default: int = 1) -> None:
    """--batch-size."""
    group.add_argument(
        "--batch-size", type=option_types.count, default=default, metavar="N", help="images at once"
    )


def add_workers(group: Options) -> None:
    """--workers."""
    group.add_argument("--workers", type=option_types.count, default=1, metavar="N", help="processes")


def add_threads(group: Options) -> None:
    """--threads."""
    group.add_argument(
        "--threads",
        type=option_types.count,
        metavar="N",
        help=f"CPU threads of each process; they change last bits (default: {engines.THREADS_VARIABLE}, "
        "else its share)",
    )


def add_page(group: Options) -> None:
    """--no-page."""
    group.add_argument("--no-page", action="store_true", help="results.json only, without index.html")


def add_quiet(group: Options) -> None:
    """--quiet."""
    group.add_argument("--quiet", action="store_true", help="print errors only")
