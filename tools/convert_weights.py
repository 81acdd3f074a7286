#!/usr/bin/env python3
"""Convert released weights from another framework's file to a caffemodel.

examples:
  convert_weights.py crfrnn_keras_model.h5 crfasrnn.caffemodel --model crfasrnn-coco
  convert_weights.py fcn8s_from_caffe.pth fcn8s.caffemodel --model fcn-8s
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.models import zoo  # noqa: E402
from caffe_gp.models.convert import FORMATS, convert_file  # noqa: E402


def main() -> int:
    """Parse the arguments and convert; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SOURCE", help="the other framework's file (.h5, .pth, .npz, .mat)")
    parser.add_argument("target", metavar="TARGET", help="the caffemodel to write")
    parser.add_argument("--model", required=True, metavar="NAME", help=", ".join(zoo.MODELS))
    parser.add_argument("--format", choices=FORMATS, help="default: told from the content of SOURCE")
    args = parser.parse_args()

    def work() -> None:
        convert_file(args.source, args.target, args.model, args.format)
        print(f"{args.target}: the weights of {args.model}")

    return finish(work, tool="convert_weights.py", on_interrupt="Nothing was written.")


if __name__ == "__main__":
    sys.exit(main())
