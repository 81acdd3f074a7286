"""``caffe_gp export``: a Caffe net as a PyTorch module that needs no caffe_gp, and as ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from caffe_gp.cli import call, net_options, option_types
from caffe_gp.cli.extras import need
from caffe_gp.errors import UsageError
from caffe_gp.evaluation.feeding import preprocess
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.models import weights, zoo

EXAMPLES = """
examples:
  caffe_gp export --model fcn-8s --torch fcn8s.py      fcn8s.py, and its parameters in fcn8s.safetensors
  caffe_gp export --prototxt deploy.prototxt --caffemodel net.caffemodel --onnx net.onnx
  caffe_gp export --prototxt deploy.prototxt --caffemodel net.caffemodel --onnx net.onnx --end conv5_3

What is exported is run beside the embedded Caffe first, at two sizes where the net takes two. Files appear,
and replace older ones, only when the results agree. docs/export.md says which layers have counterparts.
"""

ON_INTERRUPT = "Nothing was written."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The net, what of it, and the files to write."""
    group = parser.add_argument_group("net")
    net_options.add_files(group)
    net_options.add_state(group)
    net_options.add_defines(group)
    net_options.add_max_memory(group)
    group.add_argument(
        "--input-size",
        type=option_types.size,
        metavar="W,H or N",
        help="of the input (default: the net's own, else 500,500)",
    )
    group.add_argument(
        "--end",
        action="append",
        metavar="BLOB",
        help="export up to this blob; may be repeated (default: a model's scores; else all outputs, without "
        "losses, and up to layers that make boxes)",
    )
    group = parser.add_argument_group("output")
    group.add_argument("--torch", type=Path, metavar="FILE.py", help="PyTorch; FILE.safetensors goes with it")
    group.add_argument("--onnx", type=Path, metavar="FILE.onnx", help="ONNX")
    group.add_argument(
        "--image",
        type=Path,
        metavar="FILE",
        help="compare on this image, resized to the net's size (default: seeded noise)",
    )


def work(args: argparse.Namespace) -> None:
    """Export, and say what was written and how exact it is."""
    need("export", "export")
    for file, option in ((args.torch, "--torch"), (args.onnx, "--onnx")):
        if file is not None:
            call.check_file(file, option)
    from caffe_gp.export import export_net

    prototxt, caffemodel, ends, feed = _net(args)
    done = export_net(
        prototxt,
        caffemodel,
        torch_file=args.torch,
        onnx_file=args.onnx,
        ends=ends,
        size=None if args.input_size is None else (args.input_size[1], args.input_size[0]),
        example=None if args.image is None else lambda prepared: _image(args, prototxt, feed, prepared),
        scale=feed.get("scale"),
        stages=args.stages or (),
        level=args.level,
        defines=dict(args.defines),
        allow_missing_weights=args.allow_missing_weights,
    )
    for change in done.changes:
        print(f"  {change}")
    for blob, shape in done.shapes.items():
        print(f"  input '{blob}': {' x '.join('any' if n is None else str(n) for n in shape)}")
    print(f"  outputs: {', '.join(done.outputs)}")
    for kind, found in done.errors.items():
        print(f"  {kind}: differs from the embedded Caffe by {found:.1e} of the largest value")
    print("\n".join(map(str, done.files)))


def _net(args: argparse.Namespace) -> tuple[str, str, list[str], dict[str, Any]]:
    """(prototxt, caffemodel, blobs to end with, how a model is fed)."""
    ends = list(args.end or ())
    if args.model is not None:
        model = zoo.get(args.model)
        prototxt = args.prototxt or str(model.prototxt())
        return (
            prototxt,
            args.caffemodel or str(weights.require(args.model)),
            ends or [model.score],
            model.feed_options(),
        )
    for option in ("prototxt", "caffemodel"):
        if getattr(args, option) is None:
            raise UsageError(f"without --model, --{option} is needed (--list-models prints the models)")
    return args.prototxt, args.caffemodel, ends, {}


def _image(args: argparse.Namespace, prototxt: str, feed: dict[str, Any], prepared: Any) -> Any:
    width, height = reversed(prepared.input_shape.dim[2:])
    own = {**feed, "resize": (width, height), "pad_to": None}
    settings = NetSettings(prototxt=prototxt, caffemodel="", eps=[1.0], model=args.model, **own)
    return preprocess(settings, prepared).load(args.image).data[None]
