"""``caffe_gp prepare``: a net's prototxt as it is prepared for guided perturbations."""

from __future__ import annotations

import argparse
from pathlib import Path

from caffe_gp import engines
from caffe_gp.cli import call, net_options, option_types
from caffe_gp.files.atomic import write_text
from caffe_gp.models import zoo
from caffe_gp.models.prepared import prepared_text

EXAMPLES = """
examples:
  caffe_gp prepare fcn-32s                         a net by name
  caffe_gp prepare train_val.prototxt --score score --out gp.prototxt
  caffe_gp prepare crfasrnn-coco --engine bvlc     forks' layers replaced by Python layers, for BVLC Caffe

What was done stands in comments at the top. `caffe_gp run` and the others do the same in memory; the file is
for users of Caffe: forward, write the error signal into the diff of the score blob, backward, and every
blob down to the input has its gradient.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The net, and what cannot be found in it."""
    parser.add_argument("net", metavar="NET", help=f"a prototxt file, or one of {', '.join(zoo.MODELS)}")
    net_options.add_score(parser)
    net_options.add_state(parser)
    net_options.add_input(parser)
    net_options.add_defines(parser)
    parser.add_argument(
        "--input-size",
        type=option_types.size,
        metavar="W,H or N",
        help="of the input (default: the net's own, else 500,500)",
    )
    net_options.add_engine_only(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there instead of printing it")


def work(args: argparse.Namespace) -> None:
    """Prepare; print the text or write it."""
    if args.out is not None:
        call.check_file(args.out)
    size = args.input_size
    text = prepared_text(
        args.net,
        score=args.score,
        stages=args.stages or (),
        level=args.level,
        inputs=dict(args.inputs or ()),
        defines=dict(args.defines),
        input_shape=None if size is None else (1, None, size[1], size[0]),
        engine=engines.resolve(args.engine),
    )
    if args.out is None:
        print(text, end="")
    else:
        write_text(args.out, text)
        print(f"{args.out}: {args.net} prepared for guided perturbations")
