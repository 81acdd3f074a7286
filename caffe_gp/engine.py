"""Which Caffe: the embedded one ('torch') or BVLC Caffe ('bvlc'), behind the same pycaffe interface.

    caffe = engine.load_caffe("auto", device="cpu")
    gp_net = engine.load_net("deploy.prototxt", "weights.caffemodel")
    gp_net.net, gp_net.score, gp_net.changes

BVLC Caffe answers a bad file by aborting the process; ``run_guarded`` turns that into an EngineError.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any, Sequence

from caffe_gp import proto, surgery
from caffe_gp.errors import EngineError, WeightsError
from caffe_gp.guarded import run_guarded
from caffe_gp.provenance import cpu_name, gpu_name

__all__ = [
    "ENGINES",
    "GPNet",
    "default_device",
    "describe",
    "load_caffe",
    "load_net",
    "prepare_net",
    "resolve",
    "run_guarded",
]

ENGINES = ("auto", "torch", "bvlc")
ENGINE_VARIABLE = "CAFFE_GP_ENGINE"
DEVICE_VARIABLE = "CAFFE_GP_DEVICE"
THREADS_VARIABLE = "OMP_NUM_THREADS"

_BVLC_HINT = (
    "BVLC Caffe with its Python bindings is not installed for this Python. It cannot be pip-installed; "
    "'make bvlc' builds a Debian 11 file system that has it, or use --engine torch, the embedded Caffe, "
    "which needs nothing"
)


def resolve(engine: str = "auto") -> str:
    """'torch' or 'bvlc' for an engine name; 'auto' is what CAFFE_GP_ENGINE says, else 'torch'."""
    if engine == "auto":
        engine = os.environ.get(ENGINE_VARIABLE, "").strip() or "torch"
        if engine not in ENGINES[1:]:
            raise EngineError(
                f"environment variable {ENGINE_VARIABLE}={engine!r}: expected 'torch' or 'bvlc'"
            )
    if engine not in ENGINES:
        raise EngineError(f"unknown engine '{engine}'; known are {', '.join(ENGINES)}")
    return engine


def default_device() -> str:
    """The device that the tools use unless told otherwise: what CAFFE_GP_DEVICE says, else 'cpu'."""
    return os.environ.get(DEVICE_VARIABLE, "").strip() or "cpu"


def load_caffe(engine: str = "auto", device: str = "cpu", threads: int | None = None) -> Any:
    """The module that provides pycaffe's names, set to compute on ``device``.

    device   'cpu', 'cuda' or 'cuda:N'
    threads  CPU threads; default: what OMP_NUM_THREADS says, else the engine's own choice
    Raises EngineError when the engine is not installed (or is the empty package of that name on PyPI), has no
    such device, or has started with other threads and cannot change them (BVLC Caffe).
    """
    engine = resolve(engine)
    gpu = _parse_device(device)
    if threads is not None:
        _set_threads(engine, threads)
    caffe = _import_bvlc() if engine == "bvlc" else _import_embedded()
    if gpu is None:
        caffe.set_mode_cpu()
    else:
        caffe.set_device(gpu)
        caffe.set_mode_gpu()
    return caffe


def _set_threads(engine: str, threads: int) -> None:
    if engine == "torch":
        _import_embedded().set_threads(threads)
    elif _threads_by_environment() != str(threads):
        if "caffe" in sys.modules:
            raise EngineError(
                f"BVLC Caffe has started with {_threads_by_environment()} threads and keeps them: set "
                f"{THREADS_VARIABLE}={threads} before"
            )
        os.environ[THREADS_VARIABLE] = str(threads)  # OpenBLAS reads it when it is loaded


def _threads_by_environment() -> str:
    return os.environ.get(THREADS_VARIABLE) or str(os.cpu_count())


def _parse_device(device: str) -> int | None:
    match = re.match(r"^(?:cpu|cuda(?::(\d+))?)$", device)
    if match is None:
        raise EngineError(f"unknown device '{device}': expected cpu, cuda or cuda:N")
    return None if device == "cpu" else int(match.group(1) or 0)


def _import_embedded() -> Any:
    try:
        return importlib.import_module("caffe_gp.caffe")
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "caffe_gp":
            raise
        raise EngineError(
            f"engine 'torch' needs the Python package '{error.name}', which is not installed (pip install "
            "torch); BVLC Caffe, where installed, is engine 'bvlc'"
        ) from error


def _import_bvlc() -> Any:
    # One line a layer on stderr otherwise; warnings and the fatal message still come through.
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        caffe = importlib.import_module("caffe")
    except ImportError as error:
        raise EngineError(f"{_BVLC_HINT} ({error})") from error
    if not hasattr(caffe, "Net"):
        where = getattr(caffe, "__file__", None) or "a folder of that name"
        raise EngineError(
            f"the module 'caffe' found at {where} is not pycaffe (it has no Net; PyPI's package of this "
            f"name is an empty placeholder). {_BVLC_HINT}"
        )
    return caffe


# ---- nets


@dataclass
class GPNet:
    """A loaded net that is ready for guided perturbations.

    net        the engine's ``caffe.Net`` (TEST phase, weights loaded)
    data, score, prob   names of the image blob, the class-score blob and its Softmax
    changes    what the surgery did, one sentence each
    engine     'torch' or 'bvlc'
    device     'cpu', 'cuda' or 'cuda:N'
    prototxt, caffemodel   the files it came from
    prepared               the description that was loaded in place of the prototxt
    """

    net: Any
    data: str
    score: str
    prob: str
    engine: str
    device: str
    prototxt: str
    caffemodel: str | None
    prepared: surgery.Prepared
    changes: list[str] = field(default_factory=list)

    @property
    def prepared_prototxt(self) -> str:
        """The text of ``prepared``."""
        return proto.to_text(self.prepared.net)


def load_net(
    prototxt: str,
    caffemodel: str | None = None,
    *,
    engine: str = "auto",
    device: str = "cpu",
    score: str | None = None,
    input_shape: Sequence[int | None] | None = None,
) -> GPNet:
    """Load any Caffe net (deploy, train/val or released files) for guided perturbations.

    The prototxt is read, edited by ``surgery.prepare`` (see there for ``score`` and ``input_shape``) and
    loaded with the weights of ``caffemodel``; without one the weights are the fillers'. Files stay untouched.
    Raises PrototxtError, NetError, WeightsError, EngineError. With engine 'bvlc', wrong weights abort the
    process: call through ``run_guarded``.
    """
    engine = resolve(engine)
    prototxt = os.fspath(prototxt)
    prepared = prepare_net(prototxt, caffemodel, engine=engine, score=score, input_shape=input_shape)
    caffe = load_caffe(engine, device)
    net = _build_net(caffe, prepared.net, prototxt)
    if caffemodel is not None:
        caffemodel = os.fspath(caffemodel)
        prepared.changes.extend(_check_weights(caffemodel, net, prepared.probe))
        net.copy_from(caffemodel)
    return GPNet(
        net,
        prepared.data,
        prepared.score,
        prepared.prob,
        engine,
        device,
        prototxt,
        caffemodel,
        prepared,
        prepared.changes,
    )


def prepare_net(
    prototxt: str,
    caffemodel: str | None = None,
    *,
    engine: str = "auto",
    score: str | None = None,
    input_shape: Sequence[int | None] | None = None,
) -> surgery.Prepared:
    """The description that ``load_net`` loads, without the engine; the arguments are the same."""
    prepared = surgery.prepare(
        proto.read_net_param(os.fspath(prototxt)),
        score=score,
        input_shape=input_shape,
        engine=resolve(engine),
    )
    if caffemodel is not None and prepared.channels_are_guess:
        _set_channels(prepared, os.fspath(caffemodel))
    return prepared


def _build_net(caffe: Any, param: Any, source: str) -> Any:
    if hasattr(caffe.Net, "from_param"):  # the embedded Caffe: its messages then name the user's file
        return caffe.Net.from_param(param, caffe.TEST, source=source)
    with tempfile.TemporaryDirectory(prefix="caffe_gp_") as folder:
        path = os.path.join(folder, os.path.basename(source))
        with open(path, "w", encoding="utf-8") as file:
            file.write(proto.to_text(param))
        return caffe.Net(path, caffe.TEST)


def _stored_blobs(path: str) -> list[tuple[str, list[Any]]]:
    """Layer names and blobs of a weights file, of which only the shapes may be used: the file is closed."""
    with proto.read_weights(path) as weights:
        return list(weights)


def _set_channels(prepared: surgery.Prepared, path: str) -> None:
    """Give an Input layer that replaces a data layer the channels that the first convolution's weights have.

    A data layer does not tell grey from colour.
    """
    readers = [layer for layer in prepared.net.layer if prepared.data in layer.bottom]
    groups = {layer.name: layer.convolution_param.group for layer in readers if layer.type == "Convolution"}
    shape = prepared.input_shape
    for name, blobs in _stored_blobs(path):
        if name in groups and blobs and blobs[0] is not None and len(blobs[0].shape) == 4:
            channels = blobs[0].shape[1] * groups[name]
            if channels != shape.dim[1]:
                prepared.changes.append(
                    f"input '{prepared.data}' has {channels} channel(s), as layer '{name}' reads"
                )
                shape.dim[1] = channels
            return


def _check_weights(path: str, net: Any, probe: str) -> list[str]:
    """Sentences about layers that the file has no weights for; WeightsError where it cannot be right.

    Caffe skips a layer of the file that the net lacks, keeps the fillers of a layer that the file lacks, both
    without a word, and aborts on a wrong shape.
    """
    found = set()
    for name, blobs in _stored_blobs(path):
        if name not in net.params:
            continue
        found.add(name)
        expected = [tuple(blob.data.shape) for blob in net.params[name]]
        shapes = [None if blob is None else tuple(blob.shape) for blob in blobs]
        # None: a shared blob, whose values are with its owner.
        if len(shapes) != len(expected) or not all(
            blob is None or blob.fits(shape) for blob, shape in zip(blobs, expected)
        ):
            raise WeightsError(
                f"{path}: layer '{name}' has blobs of shapes {shapes}, the net expects {expected}"
            )
    missing = [name for name in net.params if name not in found and name != probe]
    if not found and missing:
        raise WeightsError(
            f"{path}: no layer in this file has the name of a layer of the net "
            f"({', '.join(missing[:5])}, ...): these are another net's weights"
        )
    return (
        [f"no weights in the file for {', '.join(missing)}: left as their fillers made them"]
        if missing
        else []
    )


# ---- provenance


def describe(engine: str = "auto", device: str = "cpu") -> dict[str, Any]:
    """What a result must say about where it was computed: engine, versions, device, threads, machine."""
    engine = resolve(engine)
    caffe = load_caffe(engine, device)
    description = {
        "engine": engine,
        "engine_version": getattr(caffe, "__version__", "unknown"),
        "device": device,
        "device_name": cpu_name() if device == "cpu" else gpu_name(_parse_device(device) or 0),
        "threads": _threads_by_environment(),
        "python": platform.python_version(),
        "numpy": importlib.import_module("numpy").__version__,
        "system": platform.platform(),
    }
    own = getattr(caffe, "engine_description", None)
    if own is not None:
        description.update(own())
    return description
