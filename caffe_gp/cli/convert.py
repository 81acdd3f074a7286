"""``caffe_gp convert``: released weights from another framework's file to a caffemodel."""

from __future__ import annotations

import argparse

from caffe_gp.cli import call
from caffe_gp.models import zoo
from caffe_gp.models.convert import FORMATS, convert_file

EXAMPLES = """
examples:
  caffe_gp convert crfrnn_keras_model.h5 crfasrnn.caffemodel --model crfasrnn-coco
  caffe_gp convert fcn8s_from_caffe.pth fcn8s.caffemodel --model fcn-8s
"""

ON_INTERRUPT = "Nothing was written."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two files and the net."""
    parser.add_argument("source", metavar="SOURCE", help="the other framework's file (.h5, .pth, .npz, .mat)")
    parser.add_argument("target", metavar="TARGET", help="the caffemodel to write")
    parser.add_argument(
        "--model", required=True, choices=[*zoo.MODELS], metavar="NAME", help=", ".join(zoo.MODELS)
    )
    parser.add_argument(
        "--format", choices=[*FORMATS], help="of SOURCE (default: judged by what the file holds)"
    )


def work(args: argparse.Namespace) -> None:
    """Convert."""
    call.check_file(args.target, "TARGET")
    convert_file(args.source, args.target, args.model, args.format)
    print(f"{args.target}: the weights of {args.model}")
