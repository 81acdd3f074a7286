"""``caffe_gp run``: guided perturbations of your images with your Caffe net."""

from __future__ import annotations

import argparse
from typing import Any

from caffe_gp.cli import call, net_options, options
from caffe_gp.errors import UsageError, printable
from caffe_gp.evaluation import images
from caffe_gp.evaluation.results import table
from caffe_gp.evaluation.segmentation_page import said

EXAMPLES = """
examples:
  a net of the paper at the paper's eps (its weights: caffe_gp fetch models fcn-32s):
    caffe_gp run --model fcn-32s --image photo.jpg --out out
  your own net, one photograph:
    caffe_gp run --prototxt deploy.prototxt --caffemodel net.caffemodel --image photo.jpg --eps 0.5 --out out
  a folder with ground truth, three step sizes from one backward pass:
    caffe_gp run --prototxt P --caffemodel W --images JPEGImages --labels SegmentationClass \\
              --eps 0.25 0.55 1 --out out
  an inner blob, without any picture but the label maps:
    caffe_gp run --prototxt P --caffemodel W --images list.txt --blob pool3 --eps 0.1 --save labels --out out
  a net that wants 257 x 257 pixels around 127.5:
    caffe_gp run --prototxt P --caffemodel W --image photo.jpg --eps 0.05 --mean 127.5 \\
              --resize 257,257 --out out
  a PyTorch module, what make() of nets.py returns, fed as torchvision's nets are (docs/modules.md):
    caffe_gp run --module nets:make --weights net.safetensors --image photo.jpg --out out \\
              --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
  LeNet on grey 28 x 28 images:
    caffe_gp run --prototxt lenet.prototxt --caffemodel lenet.caffemodel --image 7.png --scale 0.00390625 \\
              --eps 0.03 --out out

Any prototxt will do: deploy, train/val or as released. It is not changed; what is done to it in memory
(data and loss layers dropped, Softmax and probe added) is reported and in results.json. Press Ctrl-C
at any time; the same command resumes.
"""

ON_INTERRUPT = options.RESUMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The net, the images, the method, the output."""
    net_options.add_net(parser)
    group = parser.add_argument_group("images")
    group.add_argument("--image", nargs="+", default=[], metavar="FILE", help="image files")
    group.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR-or-LIST",
        help="a folder of images, or a text list: a line is PATH, or PATH LABEL-MAP for all (ground truth)",
    )
    group.add_argument(
        "--labels",
        metavar="DIR",
        help="ground truth, DIR/<image name>.png with indices, as large as the image is shown (255 is "
        "ignored); adds mean IU",
    )
    net_options.add_label_255(group)
    net_options.add_preprocessing(group)
    net_options.add_method(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--out", required=True, metavar="DIR", help="folder for the page, results.json and pictures"
    )
    options.add_save(group, images.ImageRun.save)
    options.add_crf(group)
    options.add_switch(group)
    group.add_argument("--palette", metavar="FILE", help="indexed PNG or text lines 'R G B' (default: VOC's)")
    options.add_page(group)
    options.add_quiet(group)
    options.add_work(parser)


def work(args: argparse.Namespace) -> None:
    """Label the images; print the table and what was written."""
    given = call.given(args)
    page = not given.pop("no_page")
    settings = _settings(given)
    call.check_output(settings.out)
    found = call.on_engine(settings.engine, images.run, settings, None, page)
    if not settings.quiet:
        print(printable(table(found)))
        print(printable(said(found, page)))


def _settings(given: dict[str, Any]) -> images.ImageRun:
    given["images"] = given.pop("image") + given["images"]
    if not given["images"]:
        raise UsageError("give images with --image or --images")
    return call.settings_from(images.ImageRun, given)
