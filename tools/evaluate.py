#!/usr/bin/env python3
"""Guided perturbations of a whole set of images with ground truth: mean IU before and after, resumable."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from caffe_gp import engines  # noqa: E402
from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.cli.options import add_method, add_net, add_preprocessing, settings_from  # noqa: E402
from caffe_gp.datasets import segmentation  # noqa: E402
from caffe_gp.evaluation.results import table  # noqa: E402
from caffe_gp.evaluation.segmentation import Evaluation, evaluate  # noqa: E402
from caffe_gp.images.inputs import read_ids  # noqa: E402

EXAMPLES = """
examples:
  a row of the paper's Table 1:
    evaluate.py --model fcn-32s --data voc2012-reduced346 --out runs/fcn-32s
  a sweep over eps from one backward pass an image, with two worker processes:
    evaluate.py --model fcn-32s --data voc2012-tuning --eps 0.1 0.22 0.55 1 --workers 2 --out runs/sweep
  Table 5's four columns, base, +CRF, +GP and +CRF+GP, in one run:
    evaluate.py --model deeplab-resnet101 --data voc2012-reduced346 --crf deeplab --out runs/resnet
  your own net and images (11 classes, DIR/<image name>.png with indices, 255 is ignored):
    evaluate.py --prototxt P --caffemodel W --data folder:IMAGES:LABELS:11 --eps 0.3 --out runs/mine
  one worker for each of four GPUs; a Ray cluster of many machines (docs/scale.md):
    evaluate.py --model fcn-32s --data pascal-context-val --devices 0,1,2,3 --out runs/gpus
    evaluate.py --model fcn-32s --data voc2012-val --device cuda --cluster auto --workers 16 --out runs/ray

Press Ctrl-C at any time; the same command goes on where it stopped. The folder then holds results.json
(scores), provenance.json (where and how fast) and records/ (one line an image).

exit codes: 0 done, 2 bad input or options, 3 zero gradient, 4 engine, 130 interrupted, 1 anything else
"""


def parse(arguments: list[str]) -> Evaluation:
    """The command line as settings; DataError or WeightsError where files have to be fetched first."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Score a trained Caffe net on a set of images, before and after guided perturbations.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_net(parser)
    group = parser.add_argument_group("images")
    group.add_argument(
        "--data",
        required=True,
        metavar="NAME",
        help=f"{', '.join(segmentation.NAMES)}, or folder:IMAGES:LABELS:CLASSES",
    )
    group.add_argument("--data-root", metavar="DIR", help="default: what CAFFE_GP_DATA says, else data")
    group.add_argument("--list", metavar="FILE", help="only the images whose ids it holds, one a line")
    group.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    group.add_argument("--available", action="store_true", help="only the images that are there")
    add_preprocessing(group)
    add_method(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--crf",
        metavar="PRESET",
        help="label maps behind a dense CRF too: deeplab, ... (docs/crf.md), or none (default)",
    )
    group.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the run")
    group.add_argument("--label-maps", action="store_true", help="write them: DIR/labels/<variant>/<id>.png")
    group.add_argument("--quiet", action="store_true", help="print errors and the table only")
    group = parser.add_argument_group("work")
    group.add_argument("--batch-size", type=int, default=1, metavar="N", help="images at once (default 1)")
    group.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads of each (default: OMP_NUM_THREADS, else its share); they change last bits",
    )
    group.add_argument("--devices", metavar="I,...", help="CUDA devices, one worker each, e.g. 0,1")
    group.add_argument("--cluster", metavar="WHERE", help="a Ray cluster: local, auto or ray://host:port")
    options = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    data = segmentation.get(options.pop("data"), options.pop("data_root", None))
    if "list" in options:
        data = data.only(read_ids(options.pop("list")), "listed")
    if options.pop("available"):
        data = data.available()
    if "limit" in options:
        data = data.first(options.pop("limit"))
    options["save"] = ("labels",) if options.pop("label_maps") else ()
    if options.get("crf") == "none":
        del options["crf"]
    if "devices" in options:
        options["devices"] = tuple(f"cuda:{number}" for number in options["devices"].split(","))
    options["command"] = " ".join(map(shlex.quote, ["evaluate.py", *arguments]))
    return settings_from(parser, Evaluation, {**options, "data": data.check()})


def main(arguments: list[str]) -> int:
    """Run the tool; returns its exit code."""

    def work() -> None:
        settings = parse(arguments)
        if engines.resolve(settings.engine) == "bvlc":
            run = engines.run_guarded(evaluate, settings)
        else:
            run = evaluate(settings)
        print(table(run))

    return finish(work, tool="evaluate", on_interrupt="The same command goes on where this one stopped.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
