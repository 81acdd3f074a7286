"""``caffe_gp prepare``: a net's prototxt as it is prepared for guided perturbations."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from caffe_gp import engines, proto
from caffe_gp.cli import options
from caffe_gp.errors import PrototxtError, did_you_mean
from caffe_gp.files.atomic import write_text
from caffe_gp.models import zoo

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
    options.add_score(parser)
    parser.add_argument(
        "--caffemodel", metavar="FILE", help="weights, which say how many channels a data layer's images have"
    )
    parser.add_argument(
        "--input-size",
        type=options.size,
        metavar="W,H or N",
        help="of the input (default: the net's own, else 500,500)",
    )
    options.add_engine_only(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there instead of printing it")


def work(args: argparse.Namespace) -> None:
    """Prepare; print the text or write it."""
    text = prepared_text(args.net, args.caffemodel, args.score, args.engine, args.input_size)
    if args.out is None:
        print(text, end="")
    else:
        write_text(args.out, text)
        print(f"{args.out}: {args.net} prepared for guided perturbations")


def prepared_text(
    net: str,
    caffemodel: str | None = None,
    score: str | None = None,
    engine: str = "auto",
    input_size: tuple[int, int] | None = None,
) -> str:
    """The prototxt of ``net``, a file or a model's name, after ``surgery.prepare``, its changes as comments.

    Raises PrototxtError where it is neither, and the errors of ``engines.prepare_net``.
    """
    path = net
    if net in zoo.MODELS:
        model = zoo.get(net)
        path, score = str(model.prototxt()), score or model.score
    elif not os.path.exists(net):
        hint = did_you_mean(net, zoo.MODELS)
        raise PrototxtError(f"{net}: no such file, and no model of this name{hint}")
    shape = None if input_size is None else (1, None, input_size[1], input_size[0])
    prepared = engines.prepare_net(path, caffemodel, engine=engine, score=score, input_shape=shape)
    changes = "".join(f"# {change}\n" for change in prepared.changes)
    return f"# {net}, prepared for guided perturbations by caffe_gp\n{changes}{proto.to_text(prepared.net)}"
