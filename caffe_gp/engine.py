"""Which Caffe: the embedded one ('torch') or BVLC Caffe ('bvlc'), behind the same pycaffe interface.

    caffe = engine.load_caffe("auto", device="cpu")
    gp_net = engine.load_net("deploy.prototxt", "weights.caffemodel")
    gp_net.net, gp_net.score, gp_net.changes

BVLC Caffe answers a bad file by aborting the process. ``run_guarded`` runs work in a child process and
turns such a death into an EngineError with Caffe's last message.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import platform
import re
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

from caffe_gp import proto, surgery
from caffe_gp.errors import CaffeGPError, EngineError, WeightsError
from caffe_gp.provenance import cpu_name, gpu_name

ENGINES = ("auto", "torch", "bvlc")
ENGINE_VARIABLE = "CAFFE_GP_ENGINE"

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


def load_caffe(engine: str = "auto", device: str = "cpu") -> Any:
    """The module that provides pycaffe's names, set to compute on ``device``.

    device: 'cpu', 'cuda' or 'cuda:N'. Raises EngineError when the engine is not installed (or is the empty
    package of that name on PyPI) or has no such device.
    """
    engine = resolve(engine)
    gpu = _parse_device(device)
    caffe = _import_bvlc() if engine == "bvlc" else _import_embedded()
    if gpu is None:
        caffe.set_mode_cpu()
    else:
        caffe.set_device(gpu)
        caffe.set_mode_gpu()
    return caffe


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
    prepared_prototxt      the text that was loaded in place of the prototxt
    """

    net: Any
    data: str
    score: str
    prob: str
    engine: str
    device: str
    prototxt: str
    caffemodel: str | None
    prepared_prototxt: str
    changes: list[str] = field(default_factory=list)


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
    prepared = surgery.prepare(
        proto.read_net_param(prototxt), score=score, input_shape=input_shape, engine=engine
    )
    if caffemodel is not None and prepared.channels_are_guess:
        _set_channels(prepared, os.fspath(caffemodel))
    caffe = load_caffe(engine, device)
    text = proto.to_text(prepared.net)
    net = _build_net(caffe, prepared.net, text, prototxt)
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
        text,
        prepared.changes,
    )


def _build_net(caffe: Any, param: Any, text: str, source: str) -> Any:
    if hasattr(caffe.Net, "from_param"):  # the embedded Caffe: its messages then name the user's file
        return caffe.Net.from_param(param, caffe.TEST, source=source)
    with tempfile.TemporaryDirectory(prefix="caffe_gp_") as folder:
        path = os.path.join(folder, os.path.basename(source))
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return caffe.Net(path, caffe.TEST)


def _set_channels(prepared: surgery.Prepared, path: str) -> None:
    """Give an Input layer that replaces a data layer the channels that the first convolution's weights have.

    A data layer does not tell grey from colour.
    """
    readers = [layer for layer in prepared.net.layer if prepared.data in layer.bottom]
    groups = {layer.name: layer.convolution_param.group for layer in readers if layer.type == "Convolution"}
    shape = next(layer for layer in prepared.net.layer if prepared.data in layer.top).input_param.shape[0]
    for name, blobs in proto.read_weights(path):
        if name in groups and blobs and len(blobs[0].shape) == 4:
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
    for name, blobs in proto.read_weights(path):
        if name not in net.params:
            continue
        found.add(name)
        expected = [tuple(blob.data.shape) for blob in net.params[name]]
        shapes = [tuple(blob.shape) for blob in blobs]
        if len(shapes) != len(expected) or not all(map(_same_shape, expected, blobs)):
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


def _same_shape(expected: tuple[int, ...], blob: Any) -> bool:
    if blob.legacy and len(expected) < 4:  # num, channels, height, width: padded with ones in front
        expected = (1,) * (4 - len(expected)) + expected
    return expected == tuple(blob.shape)


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
        "threads": os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count()),
        "python": platform.python_version(),
        "numpy": importlib.import_module("numpy").__version__,
        "system": platform.platform(),
    }
    own = getattr(caffe, "engine_description", None)
    if own is not None:
        description.update(own())
    return description


# ---- a child process around an engine that aborts


# glog: severity letter and date, time, thread, file:line] message
_FATAL = re.compile(rb"^F\d{4,8} \d\d:\d\d:\d\d\.\d+ +\d+ ([^\s:]+:\d+)\] ([^\r\n]*)", re.MULTILINE)
_KEPT_BYTES = 1 << 16


def run_guarded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` in a forked child and return its (picklable) result.

    Exceptions come back as they were. If the child dies, as BVLC Caffe does on a failed CHECK, EngineError
    holds the last fatal message it wrote. Its stderr is passed on as it comes, so progress bars work.
    Fork before the engine is loaded: threads of the parent do not exist in the child.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = context.Process(
        target=_child_main, args=(sender, receiver, read_end, write_end, function, args, kwargs)
    )
    child.start()
    sender.close()
    os.close(write_end)
    tail = bytearray()
    reader = threading.Thread(target=_pass_on, args=(read_end, tail), daemon=True)
    reader.start()
    try:
        outcome = _receive(receiver)
        child.join()
    except KeyboardInterrupt:
        # The terminal sent Ctrl-C to the child as well: let it finish its file, then stop.
        child.join()
        raise
    finally:
        if child.is_alive():
            child.terminate()
            child.join()
        reader.join(timeout=5)
        receiver.close()
    if outcome is None:
        raise EngineError(_death_message(child.exitcode, bytes(tail)))
    kind, value = pickle.loads(outcome)
    if kind == "error":
        raise value
    return value


def _receive(receiver: Any) -> bytes | None:
    try:
        return receiver.recv_bytes()
    except EOFError:
        return None


def _child_main(
    sender: Any,
    receiver: Any,
    read_end: int,
    write_end: int,
    function: Callable[..., Any],
    args: Any,
    kwargs: Any,
) -> None:
    receiver.close()
    os.close(read_end)
    os.dup2(write_end, 2)
    os.close(write_end)
    # Python's own messages too, whatever the parent had put in place of sys.stderr.
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    try:
        outcome = ("result", function(*args, **kwargs))
    except KeyboardInterrupt as error:
        outcome = ("error", error)
    except Exception as error:
        outcome = ("error", error)
    try:
        message = pickle.dumps(outcome)
    except Exception as error:
        message = pickle.dumps(
            ("error", CaffeGPError(f"{outcome[1]!r} cannot be handed to the parent: {error}"))
        )
    sender.send_bytes(message)
    sender.close()


def _pass_on(read_end: int, tail: bytearray) -> None:
    """Copy the child's stderr to ours up to a fatal message, and keep its last part."""
    fatal = None
    while True:
        block = os.read(read_end, 4096)
        if not block:
            break
        tail.extend(block)
        if fatal is None:
            fatal = _FATAL.search(bytes(tail))
            if fatal is not None:
                block = block[: max(0, fatal.start() - len(tail) + len(block))]
            try:
                sys.stderr.write(block.decode("utf-8", errors="replace"))
                sys.stderr.flush()
            except ValueError:  # stderr was closed: the messages are kept all the same
                pass
        del tail[:-_KEPT_BYTES]
    os.close(read_end)


def _death_message(exit_code: int | None, tail: bytes) -> str:
    found = _FATAL.findall(tail)
    if found:
        place, message = found[-1]
        return f"BVLC Caffe stopped at {place.decode()}: {message.decode(errors='replace').strip()}"
    how = f"exit code {exit_code}"
    if exit_code is not None and exit_code < 0:
        try:
            how = signal.Signals(-exit_code).name
        except ValueError:
            how = f"signal {-exit_code}"
        if how == "SIGKILL":
            how += " (the system kills processes when memory runs out: try smaller images or batches)"
    lines = tail.decode(errors="replace").strip().splitlines()
    last = f"; its last line: {lines[-1]}" if lines else ""
    return f"the engine's process died: {how}{last}"
