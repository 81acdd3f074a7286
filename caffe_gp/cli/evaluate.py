"""``caffe_gp evaluate``: guided perturbations of a whole set of images with ground truth, resumable."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from caffe_gp.cli import call, net_options, options
from caffe_gp.datasets import segmentation
from caffe_gp.errors import printable
from caffe_gp.evaluation.results import table
from caffe_gp.evaluation.segmentation import Evaluation, evaluate
from caffe_gp.evaluation.segmentation_page import evaluate_with_page

EXAMPLES = """
examples:
  a row of the paper's Table 1:
    caffe_gp evaluate --model fcn-32s --data voc2012-reduced346 --out runs/fcn-32s
  a sweep over eps from one backward pass an image, with two worker processes:
    caffe_gp evaluate --model fcn-32s --data voc2012-tuning --eps 0.1 0.22 0.55 1 --workers 2 --out runs/sweep
  Table 5's four columns, base, +CRF, +GP and +CRF+GP, in one run:
    caffe_gp evaluate --model deeplab-resnet101 --data voc2012-reduced346 --crf deeplab --out runs/resnet
  your own net and images (11 classes, DIR/<image name>.png with indices, 255 is ignored):
    caffe_gp evaluate --prototxt P --caffemodel W --data folder:IMAGES:LABELS:11 --eps 0.3 --out runs/mine
  beside other test-time methods: mirrored views averaged, or TENT, on noisy images (docs/relatives.md):
    caffe_gp evaluate --model camvid --data camvid-test --average flip --corrupt jpeg:3 --out runs/flip
    caffe_gp evaluate --model camvid-bn --data camvid-test --adapt tent --out runs/tent
  one worker for each of four GPUs; a Ray cluster of many machines (docs/scale.md):
    caffe_gp evaluate --model fcn-32s --data pascal-context-val --devices 0,1,2,3 --out runs/gpus
    caffe_gp evaluate --model fcn-32s --data voc2012-val --device cuda --cluster auto --workers 16 \\
              --out runs/ray

Press Ctrl-C at any time; the same command resumes. The folder then holds results.json
(scores), provenance.json (where and how fast) and records/ (one line an image).
"""

ON_INTERRUPT = options.RESUMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The net, the images, the method, the output, the work."""
    net_options.add_net(parser)
    group = parser.add_argument_group("images")
    group.add_argument(
        "--data",
        required=True,
        metavar="NAME",
        help=f"{', '.join(segmentation.NAMES)}, or folder:IMAGES:LABELS:CLASSES",
    )
    options.add_data_folder(group)
    net_options.add_label_255(group)
    options.add_subset(group)
    net_options.add_preprocessing(group)
    net_options.add_method(parser)
    options.add_relatives(parser)
    group = parser.add_argument_group("output")
    options.add_crf(group)
    options.add_switch(group)
    group.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the run")
    options.add_page(group)
    options.add_save(group, ())
    options.add_quiet(group)
    options.add_work(parser)


def work(args: argparse.Namespace) -> None:
    """Evaluate what the folder does not hold yet; print the table."""
    given = call.given(args)
    page = not given.pop("no_page")
    settings = settings_of(given)
    call.check_output(settings.out)
    run = call.on_engine(settings.engine, evaluate_with_page if page else evaluate, settings)
    if not settings.quiet:
        print(printable(table(run)))
        if page:
            print(f"open {(run.folder / 'index.html').resolve()}")


def settings_of(given: dict[str, Any]) -> Evaluation:
    """The evaluation that options ask for. DataError or WeightsError where files have to be fetched first."""
    data = segmentation.get(given.pop("data"), given.pop("data_folder", None))
    if "ids" in given:
        data = data.listed(given.pop("ids"))
    if given.pop("available"):
        data = data.available()
    if "limit" in given:
        data = data.first(given.pop("limit"))
    return call.settings_from(Evaluation, {**given, "data": data.check()})
