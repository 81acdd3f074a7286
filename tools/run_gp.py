#!/usr/bin/env python3
"""Guided perturbations of your images with your Caffe net."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from caffe_gp import engines  # noqa: E402
from caffe_gp.cli.exit_codes import finish  # noqa: E402
from caffe_gp.cli.options import add_method, add_net, add_preprocessing, settings_from  # noqa: E402
from caffe_gp.evaluation import images  # noqa: E402
from caffe_gp.evaluation.image_outputs import SAVE_CHOICES  # noqa: E402
from caffe_gp.evaluation.results import table  # noqa: E402

EXAMPLES = """
examples:
  a net of the paper at the paper's eps (its weights: tools/fetch_models.py fcn-32s, or make models):
    run_gp.py --model fcn-32s --image photo.jpg --out out
  your own net, one photograph:
    run_gp.py --prototxt deploy.prototxt --caffemodel net.caffemodel --image photo.jpg --eps 0.5 --out out
  a folder with ground truth, three step sizes from one backward pass:
    run_gp.py --prototxt P --caffemodel W --images JPEGImages --labels SegmentationClass \\
              --eps 0.25 0.55 1 --out out
  an inner blob, without any picture but the label maps:
    run_gp.py --prototxt P --caffemodel W --images list.txt --blob pool3 --eps 0.1 --save labels --out out
  a net that wants 257 x 257 pixels around 127.5:
    run_gp.py --prototxt P --caffemodel W --image photo.jpg --eps 0.05 --mean 127.5 --resize 257,257 --out out
  LeNet on grey 28 x 28 images:
    run_gp.py --prototxt lenet.prototxt --caffemodel lenet.caffemodel --image 7.png --scale 0.00390625 \\
              --eps 0.03 --out out

Any prototxt will do: deploy, train/val or as released. It is not changed; what is done to it in memory
(data and loss layers dropped, Softmax and probe added) is told on the way and in results.json. Press Ctrl-C
at any time; the same command goes on where it stopped.

exit codes: 0 done, 2 bad input or options, 3 zero gradient, 4 engine, 130 interrupted, 1 anything else
"""


def parse(arguments: list[str]) -> images.ImageRun:
    """The command line as settings; WeightsError where the model's weights have to be fetched first."""
    parser = argparse.ArgumentParser(
        prog="run_gp.py",
        description="Label images with a trained Caffe net, before and after guided perturbations.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_net(parser)
    group = parser.add_argument_group("images")
    group.add_argument("--image", nargs="+", default=[], metavar="FILE", help="image files")
    group.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR-or-LIST",
        help="a folder of images, or a text file with one path a line",
    )
    group.add_argument(
        "--labels",
        metavar="DIR",
        help="ground truth, DIR/<image name>.png with indices (255 is ignored); adds mean IU",
    )
    add_preprocessing(group)
    add_method(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--out", required=True, metavar="DIR", help="folder for results.json and pictures")
    group.add_argument(
        "--save",
        type=_save,
        default=images.ImageRun.save,
        metavar="KIND,...",
        help=f"any of {','.join(SAVE_CHOICES)}, or none (default {','.join(images.ImageRun.save)})",
    )
    group.add_argument("--palette", metavar="FILE", help="indexed PNG or text lines 'R G B' (default: VOC's)")
    group.add_argument(
        "--batch-size", type=int, default=1, metavar="N", help="images of one size at once (default 1)"
    )
    group.add_argument("--quiet", action="store_true", help="print errors only")
    options = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    options["images"] = options.pop("image") + options["images"]
    if not options["images"]:
        parser.error("give images with --image or --images")
    options["command"] = " ".join(map(shlex.quote, ["run_gp.py", *arguments]))
    return settings_from(parser, images.ImageRun, options)


def _save(text: str) -> tuple[str, ...]:
    kinds = tuple(kind for kind in text.split(",") if kind and kind != "none")
    for kind in kinds:
        if kind not in SAVE_CHOICES:
            raise argparse.ArgumentTypeError(f"unknown kind {kind!r}; known: {', '.join(SAVE_CHOICES)}, none")
    return kinds


def main(arguments: list[str]) -> int:
    """Run the tool; returns its exit code."""

    def work() -> None:
        settings = parse(arguments)
        if engines.resolve(settings.engine) == "bvlc":
            results = engines.run_guarded(images.run, settings)
        else:
            results = images.run(settings)
        if not settings.quiet:
            print(table(results))

    return finish(work, tool="run_gp", on_interrupt="The same command goes on where this one stopped.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
