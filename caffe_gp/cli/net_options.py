"""Options that subcommands share of the net, of how images are fed to it, and of the method."""

from __future__ import annotations

import argparse
import os
from typing import Any

from caffe_gp import engines
from caffe_gp.cli import option_types
from caffe_gp.evaluation.choose_eps import IMAGES, SHARE
from caffe_gp.gp import ENCODINGS, INJECTIONS, STEPS
from caffe_gp.images.limits import MAX_PIXELS, PIXELS_A_BYTE, PIXELS_VARIABLE, SUSPECT_PIXELS
from caffe_gp.models import zoo

_MAX_BYTES = "CAFFE_GP_MAX_BYTES"  # which the embedded Caffe reads

# An ArgumentParser or a group of its options.
Options = Any


def add_net(parser: argparse.ArgumentParser) -> None:
    """--model, --list-models, --prototxt, --caffemodel, --module, --weights, --score, ..., engine."""
    group = parser.add_argument_group("net")
    add_files(group)
    add_module(group)
    add_score(group)
    add_state(group)
    add_input(group)
    add_defines(group)
    add_allowed_modules(group)
    add_max_memory(group)
    add_engine(group)
    add_precision(group)
    group.add_argument(
        "--deterministic",
        action="store_true",
        help="the same label maps bit for bit run after run on one machine, GPUs too, where that is slower "
        "(embedded Caffe; on the CPU it is so anyway, for one number of --threads)",
    )


def add_files(group: Options) -> None:
    """--model, --list-models, --prototxt, --caffemodel, --allow-missing-weights."""
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
        "--allow-missing-weights",
        action="store_true",
        help="run a net of which the weights lack layers; these keep the values of their fillers",
    )


def add_module(group: Options) -> None:
    """--module, --weights."""
    group.add_argument(
        "--module",
        metavar="PACKAGE.MODULE:FACTORY",
        help="instead of a Caffe net a PyTorch module: what FACTORY() returns. The Python module is "
        "imported: its code can do whatever you can (docs/modules.md). Needs --mean with --std or --scale",
    )
    group.add_argument(
        "--weights",
        metavar="FILE",
        help="of --module: a state dict, .pt or .safetensors (default: what FACTORY makes)",
    )


def add_score(group: Options) -> None:
    """--score."""
    group.add_argument(
        "--score",
        metavar="BLOB",
        help="blob of class scores, before any Softmax (default: found, where that is certain); of --module "
        "the key or index of its output, or an inner module",
    )


def add_state(group: Options) -> None:
    """--stage, --level."""
    group.add_argument(
        "--stage",
        action="append",
        dest="stages",
        metavar="NAME",
        help="stage of the net, for prototxts whose layers name stages (include { stage: ... }); may be "
        "repeated",
    )
    group.add_argument("--level", type=int, default=0, metavar="N", help="level of the net, likewise")


def add_input(group: Options) -> None:
    """--input."""
    group.add_argument(
        "--input",
        action="append",
        dest="inputs",
        type=option_types.input_values,
        metavar="NAME=VALUES",
        help="values of an input that the scores need besides the image: NAME=FILE.npy with an array of the "
        "blob's shape, or NAME=V,V,... with constants, one or one a channel; may be repeated",
    )


def add_defines(group: Options) -> None:
    """--define."""
    group.add_argument(
        "--define",
        action="append",
        default=[],
        dest="defines",
        type=option_types.define,
        metavar="NAME=VALUE",
        help="value of ${NAME} in prototxts that are templates; may be repeated",
    )


def add_allowed_modules(group: Options) -> None:
    """--allow-python-layers."""
    group.add_argument(
        "--allow-python-layers",
        nargs="+",
        default=[],
        metavar="MODULE",
        help='modules that layers of type "Python" may run; their code can do whatever you can (default: '
        "those of caffe_gp only)",
    )


def add_max_memory(group: Options) -> None:
    """--max-memory."""
    group.add_argument(
        "--max-memory",
        action=_SetVariable,
        const=_MAX_BYTES,
        default=argparse.SUPPRESS,
        type=option_types.byte_count,
        metavar="SIZE",
        help="a net that needs more is refused before it takes any: bytes, or with K, M or G behind "
        f"(default: {_MAX_BYTES}, else 80 %% of the machine's; embedded Caffe only)",
    )


def add_engine(group: Options) -> None:
    """--engine, --device."""
    add_engine_only(group)
    group.add_argument(
        "--device",
        type=option_types.device,
        default=engines.default_device(),
        help=f"cpu, cuda or cuda:N (default: %(default)s; {engines.DEVICE_VARIABLE} sets it)",
    )


def add_precision(group: Options) -> None:
    """--precision."""
    group.add_argument(
        "--precision",
        choices=engines.PRECISIONS,
        default="float32",
        help="what convolutions and inner products compute in, TF32 on a GPU only; blobs are float32 anyway "
        "(embedded Caffe; docs/gpu.md has what it changes)",
    )


def add_engine_only(group: Options) -> None:
    """--engine, for what computes nothing."""
    group.add_argument(
        "--engine",
        choices=engines.ENGINES,
        default="auto",
        help="torch: the embedded Caffe; bvlc: BVLC Caffe's pycaffe; auto: what "
        f"{engines.ENGINE_VARIABLE} says, else torch",
    )


def add_preprocessing(group: Options) -> None:
    """--mean, --scale, --std, --channel-order, --resize, --pad-to, --max-pixels."""
    group.add_argument(
        "--mean",
        type=option_types.mean,
        metavar="B,G,R or FILE",
        help="subtracted from the pixels 0..255: three numbers, one for all channels, or a .binaryproto or "
        ".npy file; a mean image is subtracted from images of its size (after --resize), from others its "
        "mean of each channel (default: the model's, else the data layer's in the prototxt, else FCN's "
        "104.00698793,116.66876762,122.67891434; 0 for grey nets)",
    )
    group.add_argument(
        "--scale",
        type=option_types.factor,
        metavar="F",
        help="factor after the subtraction (default: the model's, else the data layer's, else 1)",
    )
    group.add_argument(
        "--std",
        type=option_types.numbers,
        metavar="R,G,B",
        help="torchvision's way: the image is (pixel / 255 - mean) / std, and --mean is of 0..1 too, in the "
        "order red, green, blue: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225",
    )
    group.add_argument(
        "--channel-order",
        choices=("bgr", "rgb"),
        help="of the net's input (default: the model's, else bgr; with --std rgb)",
    )
    group.add_argument(
        "--resize",
        type=option_types.size_or_length,
        metavar="W,H or N",
        help="stretch to W x H, or scale the longer side to N (default: native size); label maps "
        "are brought back to the image's size, nearest neighbour",
    )
    group.add_argument(
        "--pad-to",
        type=option_types.size,
        metavar="W,H or N",
        help="fill up at the bottom and right with the mean to this size (500 for CRF-RNN, 513 for "
        "DeepLab); label maps are cropped",
    )
    add_max_pixels(group)


def add_max_pixels(group: Options) -> None:
    """--max-pixels."""
    group.add_argument(
        "--max-pixels",
        action=_SetVariable,
        const=PIXELS_VARIABLE,
        default=argparse.SUPPRESS,
        type=option_types.count,
        metavar="N",
        help="read no image of more pixels; replaces both built-in limits: "
        f"{MAX_PIXELS // 10**6} million, and {PIXELS_A_BYTE} a byte of the file from "
        f"{SUSPECT_PIXELS // 10**6} million on (default: {PIXELS_VARIABLE})",
    )


def add_label_255(group: Options) -> None:
    """--label-255."""
    group.add_argument(
        "--label-255",
        type=option_types.class_or_void,
        metavar="CLASS",
        help="what 255 is in label maps: a class (1 for masks of 0 and 255), or void (default: void, but "
        "label maps of nothing besides 0 and 255 are refused)",
    )


def add_method(parser: argparse.ArgumentParser) -> None:
    """--eps, --blob, --encoding, --threshold, --step, --iterations, --inject, --seed."""
    group = parser.add_argument_group("method")
    group.add_argument(
        "--eps",
        type=option_types.number_or_auto,
        nargs="+",
        metavar="E",
        help="step sizes, in units of the blob (grey levels at the input); several cost one backward. auto: "
        "chosen without labels, docs/choosing_eps.md (default: the model's at the input, else auto)",
    )
    group.add_argument(
        "--eps-share",
        type=option_types.share,
        default=SHARE,
        metavar="S",
        help="of --eps auto: the share of the confidence gap that the step is to close",
    )
    group.add_argument(
        "--eps-images",
        type=option_types.count,
        default=IMAGES,
        metavar="N",
        help="of --eps auto: it is chosen on the first N images of the run",
    )
    add_blob(group)
    group.add_argument("--encoding", choices=ENCODINGS, default="onehot", help="label encoding")
    group.add_argument(
        "--threshold",
        type=option_types.number,
        metavar="P",
        help="of encoding thresholded-onehot: pixels whose confidence is below P send nothing",
    )
    group.add_argument(
        "--step",
        choices=STEPS,
        default="sign",
        help="along the sign of the diff (the paper's), or along the diff, as long as signs are",
    )
    group.add_argument(
        "--iterations", type=option_types.count, default=1, metavar="N", help="steps of size eps"
    )
    group.add_argument(
        "--inject",
        choices=INJECTIONS,
        help="where the error signal enters (default: score; softmax-output for encoding soft)",
    )
    group.add_argument(
        "--seed", type=option_types.seed, default=0, metavar="N", help="of the random encoding"
    )


def add_blob(group: Options) -> None:
    """--blob."""
    group.add_argument(
        "--blob",
        default="data",
        metavar="BLOB",
        help="blob to perturb: the input or an inner one, like pool3",
    )


class _ListModels(argparse.Action):
    """``--list-models``: print them and exit, whatever else is on the command line."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        for model in zoo.named().values():
            eps = "eps to be given" if model.eps is None else f"eps {model.eps:g}"
            print(f"{model.name:<24}{len(model.classes):>3} classes  {eps:<16}{model.title}")
        parser.exit()


class _SetVariable(argparse.Action):
    """The value into the environment variable ``const``, which worker processes have too."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, *_: Any) -> None:
        os.environ[self.const] = str(values)
