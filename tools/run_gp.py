#!/usr/bin/env python3
"""Guided perturbations of your images with your Caffe net."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from caffe_gp import engine  # noqa: E402
from caffe_gp.command import finish  # noqa: E402
from caffe_gp.errors import CaffeGPError, WeightsError  # noqa: E402
from caffe_gp.evaluation import image_run  # noqa: E402
from caffe_gp.evaluation.image_outputs import SAVE_CHOICES  # noqa: E402
from caffe_gp.gp import ENCODINGS, INJECTIONS  # noqa: E402
from caffe_gp.models import zoo  # noqa: E402

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


def parse(arguments: list[str]) -> image_run.Settings:
    """The command line as settings; WeightsError where the model's weights have to be fetched first."""
    parser = argparse.ArgumentParser(
        prog="run_gp.py",
        description="Label images with a trained Caffe net, before and after guided perturbations.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = parser.add_argument_group("net")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="a net of the paper or its family: says the files, the score blob, the preprocessing and, where "
        "the paper does, eps; any option overrides its part",
    )
    group.add_argument("--list-models", action=_ListModels, help="print the models and exit")
    group.add_argument("--prototxt", metavar="FILE", help="the net's description, without --model")
    group.add_argument("--caffemodel", metavar="FILE", help="its weights (.caffemodel or .h5)")
    group.add_argument(
        "--score", metavar="BLOB", help="blob of class scores, before any Softmax (default: found)"
    )
    group.add_argument(
        "--engine",
        choices=engine.ENGINES,
        default="auto",
        help="torch: the embedded Caffe; bvlc: BVLC Caffe's pycaffe; auto (default): "
        "what CAFFE_GP_ENGINE says, else torch",
    )
    group.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")

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
    group.add_argument(
        "--mean",
        type=_numbers,
        metavar="B,G,R",
        help="subtracted from the pixels 0..255; one number for all channels "
        "(default: the model's, else FCN's 104.00698793,116.66876762,122.67891434; 0 for grey nets)",
    )
    group.add_argument(
        "--scale", type=float, help="factor after the subtraction (default: the model's, else 1)"
    )
    group.add_argument("--channel-order", choices=("bgr", "rgb"), help="default: the model's, else bgr")
    group.add_argument(
        "--resize",
        type=_resize,
        metavar="W,H or N",
        help="stretch to W x H, or scale the longer side to N (default: native size); label maps "
        "are brought back to the image's size, nearest neighbour",
    )
    group.add_argument(
        "--pad-to",
        type=_size,
        metavar="W,H or N",
        help="fill up at the bottom and right with the mean to this size (500 for CRF-RNN, 513 for "
        "DeepLab); label maps are cropped",
    )

    group = parser.add_argument_group("method")
    group.add_argument(
        "--eps",
        type=float,
        nargs="+",
        metavar="E",
        help="step sizes, in units of the blob (grey levels at the input); several cost one backward "
        "(default: the model's)",
    )
    group.add_argument(
        "--blob", default="data", help="blob to perturb: data (default) or an inner one, e.g. pool3"
    )
    group.add_argument(
        "--encoding", choices=ENCODINGS, default="onehot", help="label encoding (default onehot)"
    )
    group.add_argument("--iterations", type=int, default=1, metavar="N", help="steps of size eps (default 1)")
    group.add_argument(
        "--inject",
        choices=INJECTIONS,
        help="where the error signal enters (default score; softmax-output for encoding soft)",
    )
    group.add_argument("--seed", type=int, default=0, help="of the random encoding (default 0)")

    group = parser.add_argument_group("output")
    group.add_argument("--out", required=True, metavar="DIR", help="folder for results.json and pictures")
    group.add_argument(
        "--save",
        type=_save,
        default=image_run.Settings.save,
        metavar="KIND,...",
        help=f"any of {','.join(SAVE_CHOICES)}, or none (default {','.join(image_run.Settings.save)})",
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
    if options["batch_size"] < 1:
        parser.error("--batch-size must be at least 1")
    options["command"] = " ".join(map(shlex.quote, ["run_gp.py", *arguments]))
    if "model" not in options:
        for name in ("prototxt", "caffemodel", "eps"):
            if name not in options:
                parser.error(f"without --model, --{name} is needed")
        return image_run.Settings(**options)
    try:
        return image_run.Settings.of_model(options.pop("model"), **options)
    except WeightsError:
        raise
    except CaffeGPError as error:
        parser.error(str(error))


class _ListModels(argparse.Action):
    """``--list-models``: print them and exit, whatever else is on the command line."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        for model in zoo.MODELS.values():
            eps = "eps to be given" if model.eps is None else f"eps {model.eps:g}"
            print(f"{model.name:<24}{len(model.classes):>3} classes  {eps:<16}{model.title}")
        parser.exit()


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _size(text: str) -> tuple[int, int]:
    parts = [int(part) for part in text.split(",")]
    if len(parts) not in (1, 2) or min(parts) < 1:
        raise argparse.ArgumentTypeError(f"expected W,H or N, found {text!r}")
    return parts[0], parts[-1]


def _resize(text: str) -> int | tuple[int, int]:
    width, height = _size(text)
    return (width, height) if "," in text else width


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
        if engine.resolve(settings.engine) == "bvlc":
            results = engine.run_guarded(image_run.run, settings)
        else:
            results = image_run.run(settings)
        if not settings.quiet:
            print(image_run.table(results))

    return finish(work, tool="run_gp", on_interrupt="The same command goes on where this one stopped.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
