"""Command line options that the tools share: the net, how images are fed to it, and the method."""

from __future__ import annotations

import argparse
from typing import Any, TypeVar

from caffe_gp import engines
from caffe_gp.errors import CaffeGPError, WeightsError
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.gp import ENCODINGS, INJECTIONS
from caffe_gp.models import zoo

Given = TypeVar("Given", bound=NetSettings)


def add_net(parser: argparse.ArgumentParser) -> None:
    """--model, --prototxt, --caffemodel, --score, --engine, --device."""
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
    add_engine(group)


def add_engine(group: Any) -> None:
    """--engine, --device."""
    group.add_argument(
        "--engine",
        choices=engines.ENGINES,
        default="auto",
        help="torch: the embedded Caffe; bvlc: BVLC Caffe's pycaffe; auto: what CAFFE_GP_ENGINE says, else "
        "torch (default: %(default)s)",
    )
    group.add_argument(
        "--device",
        default=engines.default_device(),
        help="cpu, cuda or cuda:N (default: %(default)s; CAFFE_GP_DEVICE sets it)",
    )


def add_preprocessing(group: Any) -> None:
    """--mean, --scale, --channel-order, --resize, --pad-to."""
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


def add_method(parser: argparse.ArgumentParser) -> None:
    """--eps, --blob, --encoding, --iterations, --inject, --seed."""
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


def settings_from(parser: argparse.ArgumentParser, kind: type[Given], options: dict[str, Any]) -> Given:
    """Settings of a ``kind`` from parsed options without those that were not given.

    Ends the tool with a message for missing options; WeightsError where the model's weights have to be
    fetched first.
    """
    if options.get("batch_size", 1) < 1:
        parser.error("--batch-size must be at least 1")
    if "model" not in options:
        for name in ("prototxt", "caffemodel", "eps"):
            if name not in options:
                parser.error(f"without --model, --{name} is needed")
        return kind(**options)
    try:
        return kind.of_model(options.pop("model"), **options)
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
