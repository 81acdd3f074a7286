"""Command line options that subcommands share: one name, one meaning and one default for each."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any, Callable, Sequence, TypeVar

from caffe_gp import engines
from caffe_gp.cli import option_types
from caffe_gp.cli.extras import need
from caffe_gp.errors import CaffeGPError, UsageError
from caffe_gp.evaluation.choose_eps import AUTO, IMAGES, SHARE
from caffe_gp.evaluation.image_outputs import SAVE_CHOICES
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.files import places
from caffe_gp.gp import ENCODINGS, INJECTIONS, STEPS
from caffe_gp.gp.adapt import TENT_RATE, TENT_STEPS
from caffe_gp.images.corruptions import KINDS
from caffe_gp.images.limits import MAX_PIXELS, PIXELS_A_BYTE, PIXELS_VARIABLE, SUSPECT_PIXELS
from caffe_gp.models import zoo
from caffe_gp.surgery.batch_norms import ADAPTATIONS

_MAX_BYTES = "CAFFE_GP_MAX_BYTES"  # which the embedded Caffe reads
_PROBE = 1 << 12  # bytes that a folder must take
RESUMES = "The same command resumes where this one stopped."

Given = TypeVar("Given", bound=NetSettings)
Result = TypeVar("Result")

# An ArgumentParser or a group of its options.
Options = Any


# ---- the net and the method


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
        "(embedded Caffe; docs/performance.md has what it changes)",
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


# ---- data, work, output


def add_data_folder(group: Options) -> None:
    """--data-folder."""
    group.add_argument(
        "--data-folder",
        type=Path,
        metavar="DIR",
        help=f"folder of the data sets (default: {places.DATA_VARIABLE}, else {_shown(places.data_folder)})",
    )


def add_models_folder(group: Options) -> None:
    """--models-folder."""
    group.add_argument(
        "--models-folder",
        type=Path,
        metavar="DIR",
        help=f"folder of weights (default: {places.MODELS_VARIABLE}, else {_shown(places.models_folder)})",
    )


def _shown(folder: Callable[[], Path]) -> str:
    """A default folder for a help text, which must not fail."""
    try:
        return str(folder())
    except CaffeGPError:
        return "none"


def add_subset(group: Options) -> None:
    """--ids, --limit, --available: which images of a set."""
    group.add_argument(
        "--ids", type=Path, metavar="FILE", help="a list: only the images whose ids (or paths) it holds"
    )
    group.add_argument("--limit", type=option_types.count, metavar="N", help="only the first N images")
    group.add_argument("--available", action="store_true", help="only the images that are there")


def add_work(parser: argparse.ArgumentParser, batch_size: int = 1) -> None:
    """--batch-size, --workers, --threads, --devices, --cluster."""
    group = parser.add_argument_group("work")
    add_batch_size(group, batch_size)
    add_workers(group)
    add_threads(group)
    group.add_argument(
        "--devices",
        type=option_types.devices,
        metavar="I,...",
        help="CUDA devices, one worker each, e.g. 0,1",
    )
    group.add_argument("--cluster", metavar="WHERE", help="a Ray cluster: local, auto or ray://host:port")


def add_save(group: Options, default: Sequence[str]) -> None:
    """--save."""
    group.add_argument(
        "--save",
        type=option_types.kinds,
        default=tuple(default) or ("none",),
        metavar="KIND,...",
        help=f"what to write of every image: any of {','.join(SAVE_CHOICES)}, or none",
    )


def add_switch(group: Options) -> None:
    """--switch."""
    group.add_argument(
        "--switch",
        action="store_true",
        help="score as well, at each pixel, the label of the surer of both passes",
    )


def add_relatives(parser: argparse.ArgumentParser) -> None:
    """--average, --corrupt, --adapt, --tent-steps, --tent-rate."""
    group = parser.add_argument_group("test-time methods beside GP (docs/relatives.md)")
    group.add_argument(
        "--average",
        nargs="+",
        metavar="VIEW",
        help="average the probabilities of further views, GP on each: flip, or a scale like 0.75",
    )
    group.add_argument(
        "--corrupt",
        metavar="KIND:S",
        help=f"corrupt every image first: {', '.join(KINDS)}, of strength 1 to 5 as in ImageNet-C",
    )
    group.add_argument(
        "--adapt",
        choices=ADAPTATIONS,
        help="nets with BatchNorm, image by image: bn takes its statistics, tent also descends the entropy "
        "over the Scale layers; the weights are restored",
    )
    group.add_argument(
        "--tent-steps",
        type=option_types.count,
        metavar="N",
        help=f"of --adapt tent: steps of Adam (default: {TENT_STEPS})",
    )
    group.add_argument(
        "--tent-rate",
        type=option_types.number,
        metavar="F",
        help=f"of --adapt tent: their rate (default: {TENT_RATE:g})",
    )


def add_crf(group: Options) -> None:
    """--crf."""
    group.add_argument(
        "--crf",
        metavar="PRESET",
        help="label maps behind a dense CRF too: deeplab, ... (docs/crf.md), or none (default: none)",
    )


def add_batch_size(group: Options, default: int = 1) -> None:
    """--batch-size."""
    group.add_argument(
        "--batch-size", type=option_types.count, default=default, metavar="N", help="images at once"
    )


def add_workers(group: Options) -> None:
    """--workers."""
    group.add_argument("--workers", type=option_types.count, default=1, metavar="N", help="processes")


def add_threads(group: Options) -> None:
    """--threads."""
    group.add_argument(
        "--threads",
        type=option_types.count,
        metavar="N",
        help=f"CPU threads of each process; they change last bits (default: {engines.THREADS_VARIABLE}, "
        "else its share)",
    )


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


def add_page(group: Options) -> None:
    """--no-page."""
    group.add_argument("--no-page", action="store_true", help="results.json only, without index.html")


def add_quiet(group: Options) -> None:
    """--quiet."""
    group.add_argument("--quiet", action="store_true", help="print errors only")


# ---- from options to settings


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The options that were given or have a default, by name."""
    found = {name: value for name, value in vars(args).items() if value is not None}
    if AUTO in found.get("eps", ()):
        if len(found["eps"]) > 1:
            raise UsageError("--eps auto chooses one step: give it alone, or give numbers")
        found["eps"] = AUTO
    if found.get("crf") == "none":
        del found["crf"]
    if "save" in found:
        found["save"] = tuple(kind for kind in found["save"] if kind != "none")
    if "inputs" in found:
        found["inputs"] = dict(found["inputs"])
    if "average" in found:
        found["average"] = tuple(found["average"])
    found["defines"] = dict(found["defines"])
    if "cluster" in found:
        need("cluster", "--cluster")
    return found


def settings_from(kind: type[Given], options: dict[str, Any]) -> Given:
    """Settings of a ``kind`` from ``given`` options.

    Raises UsageError for missing and wrong options, WeightsError where the model's weights have to be
    fetched first.
    """
    if "module" in options:
        return kind(**options)
    if "model" in options:
        return kind.of_model(options.pop("model"), **options)
    for needed in ("prototxt", "caffemodel"):
        if needed not in options:
            raise UsageError(
                f"without --model or --module, --{needed} is needed (--list-models prints the models)"
            )
    settings = kind(**options)
    if settings.eps == AUTO:
        settings.source()  # a net that cannot be read is told before any folder is made
    return settings


def on_engine(engine: str, function: Callable[..., Result], *args: Any) -> Result:
    """``function(*args)``, in a process of its own where BVLC Caffe would end this one."""
    if engines.resolve(engine) == "bvlc":
        return engines.run_guarded(function, *args)
    return function(*args)


def check_output(folder: Path | str, option: str = "--out") -> None:
    """Make a folder, and UsageError where that or writing in it fails, before hours of work find out."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as stream:
            stream.write(bytes(_PROBE))
    except OSError as error:
        in_the_way = next((place for place in (path, *path.parents) if place.is_file()), None)
        why = f"{in_the_way} is a file" if in_the_way is not None else error.strerror or str(error)
        raise UsageError(f"{folder}: cannot be written as a folder ({why}); give another {option}") from None


def check_file(file: Path | str, option: str = "--out") -> None:
    """UsageError for a file that could not be written. Makes its folder."""
    if Path(file).is_dir():
        raise UsageError(f"{file}: is a folder; give a file as {option}")
    check_output(Path(file).parent, option)


def sleeping_threads() -> None:
    """Threads that wait sleep instead of spinning; to be called before PyTorch is loaded.

    The same speed on a free machine, several times faster on a busy one.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
