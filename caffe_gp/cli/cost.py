"""``caffe_gp cost``: how long and how dear an evaluation of many images is, judged by a small one."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from caffe_gp.cli import option_types
from caffe_gp.errors import UsageError
from caffe_gp.evaluation.results import read_run

SIZES = (5105, 10**6, 10**9)

EXAMPLES = """
examples:
  caffe_gp evaluate --model fcn-32s --data voc2012-val --limit 100 --out runs/small
  caffe_gp cost runs/small --workers 16 --price 2.5

RUN is the folder of a finished evaluation on the machine in question; the table is for 5105 images
(PASCAL-Context), a million and a billion.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run to go by, and the planned job."""
    parser.add_argument("run", metavar="RUN", help="folder of a finished evaluation")
    parser.add_argument(
        "--workers", type=option_types.count, default=1, metavar="N", help="of the planned job"
    )
    parser.add_argument(
        "--price", type=option_types.amount, default=0.0, metavar="P", help="of one worker's hour"
    )
    parser.add_argument(
        "--image-kb",
        type=option_types.amount,
        default=0.0,
        metavar="KB",
        help="of an image and its label map on disk",
    )


def work(args: argparse.Namespace) -> None:
    """Print the table."""
    print(table(estimates_of_run(args.run, args.workers, args.price, 1000 * args.image_kb)))


@dataclass
class Estimate:
    """A job on ``workers`` equal workers (GPUs, or shares of CPUs).

    images_per_second   of all workers together
    hours               wall-clock, each worker's start included
    bytes_per_second    that the shared file system has to deliver meanwhile
    record_bytes        what the records take on disk
    cost                workers x hours x price, in the price's currency
    """

    images: int
    images_per_second: float
    hours: float
    bytes_per_second: float
    record_bytes: float
    cost: float


def estimate(
    images: int,
    seconds_per_image: float,
    workers: int = 1,
    price_per_hour: float = 0.0,
    image_bytes: float = 0.0,
    record_bytes: float = 0.0,
    start_seconds: float = 60.0,
) -> Estimate:
    """The job's figures: images are independent, so N workers are N times as fast once they have started.

    seconds_per_image   of one worker, all steps
    price_per_hour      of one worker
    image_bytes, record_bytes   of one image's files and of its record
    start_seconds       until a worker has loaded its net
    """
    if images < 1 or workers < 1 or seconds_per_image <= 0:
        raise UsageError("images, workers and seconds per image must be positive")
    rate = workers / seconds_per_image
    hours = (start_seconds + images / rate) / 3600
    return Estimate(
        images, rate, hours, rate * image_bytes, images * record_bytes, hours * workers * price_per_hour
    )


def estimates_of_run(
    folder: Path | str, workers: int, price_per_hour: float = 0.0, image_bytes: float = 0.0
) -> list[Estimate]:
    """The figures for SIZES from a finished run's own; ``image_bytes``: of an image and its label map."""
    run = read_run(folder)
    records = sum(path.stat().st_size for path in Path(folder).glob("records/*.jsonl"))
    seconds = float(sum(values.mean() for values in run.seconds.values()))
    return [
        estimate(images, seconds, workers, price_per_hour, image_bytes, records / len(run.ids))
        for images in SIZES
    ]


def table(estimates: list[Estimate]) -> str:
    """A Markdown table."""
    lines = [
        "| images | images/s | hours | reads MB/s | records GB | cost |",
        "|---|---|---|---|---|---|",
    ]
    for e in estimates:
        lines.append(
            f"| {e.images:,} | {e.images_per_second:.3g} | {e.hours:,.3g} | {e.bytes_per_second / 1e6:.3g} | "
            f"{e.record_bytes / 1e9:.3g} | {e.cost:,.3g} |"
        )
    return "\n".join(lines)
