"""Which Caffe computes, on which device and with how many threads."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from typing import Any

from caffe_gp.engines.guarded import in_child, run_guarded
from caffe_gp.errors import EngineError, UsageError
from caffe_gp.provenance import DEVICE_VARIABLE, PRECISIONS, cpu_name, gpu_name

ENGINES = ("auto", "torch", "bvlc")
ENGINE_VARIABLE = "CAFFE_GP_ENGINE"
THREADS_VARIABLE = "OMP_NUM_THREADS"
_tried_gpus: list[int] = []

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


def load_caffe(
    engine: str = "auto", device: str = "cpu", threads: int | None = None, deterministic: bool = False
) -> Any:
    """The module that provides pycaffe's names, set to compute on ``device``.

    device   'cpu', 'cuda' or 'cuda:N'
    threads  CPU threads; default: what OMP_NUM_THREADS says, else the engine's own choice
    deterministic   compute the same bits run after run, from here on: see ``caffe.mode.set_deterministic``
    Raises EngineError when the engine is not installed (or is the empty package of that name on PyPI), has no
    such device, or has started with other threads and cannot change them (BVLC Caffe).
    """
    engine = resolve(engine)
    gpu = _parse_device(device)
    _check_threads_variable()
    if threads is not None:
        _set_threads(engine, threads)
    caffe = _import_bvlc() if engine == "bvlc" else _import_embedded()
    if deterministic:
        _set_deterministic(engine, caffe)
    if gpu is None:
        caffe.set_mode_cpu()
    else:
        _check_gpu(engine, caffe, gpu)
        _use_gpu(caffe, gpu)
    return caffe


def _use_gpu(caffe: Any, gpu: int) -> None:
    caffe.set_device(gpu)
    caffe.set_mode_gpu()


def _check_gpu(engine: str, caffe: Any, gpu: int) -> None:
    """EngineError for a GPU that is not there."""
    if engine == "bvlc":
        if not _tried_gpus and not in_child():  # a session outlives it; CUDA does not outlive a second fork
            run_guarded(_use_gpu, caffe, gpu)
        _tried_gpus.append(gpu)
        return
    count = caffe.mode.gpu_count()
    if gpu >= count:
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise EngineError(
            f"device 'cuda:{gpu}' is not here; torch sees {there}. Use --device cpu (in Python device='cpu'; "
            f"{DEVICE_VARIABLE} sets the default). A GPU needs a CUDA build of torch and the NVIDIA driver"
        )


def _set_deterministic(engine: str, caffe: Any) -> None:
    if engine != "torch":
        raise EngineError("--deterministic (deterministic=True) is for the embedded Caffe, engine 'torch'")
    caffe.set_deterministic(True)


def check_precision(precision: str, engine: str, device: str) -> None:
    """UsageError for none of ``PRECISIONS``, EngineError for one that engine or device do not have."""
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}; known are {', '.join(PRECISIONS)}")
    if precision != "float32" and resolve(engine) != "torch":
        raise EngineError(
            f"--precision {precision} (precision='{precision}') is for the embedded Caffe, engine 'torch'; "
            "BVLC Caffe computes in float32"
        )
    if precision == "tf32" and _parse_device(device) is None:
        raise EngineError(
            f"--precision tf32 (precision='tf32') is an arithmetic of CUDA devices, and device is '{device}'"
            ": give --device cuda, or precision bf16, which a CPU computes too"
        )


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


def thread_variables(threads: int | None) -> dict[str, str]:
    """Environment variables that give a process so many CPU threads; none for None.

    Libraries read their number of threads when they are loaded.
    """
    return {} if threads is None else dict.fromkeys((THREADS_VARIABLE, "NUMBA_NUM_THREADS"), str(threads))


def _check_threads_variable() -> None:
    """EngineError where OMP_NUM_THREADS is no number: each library would then take one of its own."""
    value = os.environ.get(THREADS_VARIABLE, "").strip()
    if value and not re.match(r"^[1-9]\d*(\s*,\s*[1-9]\d*)*$", value):
        raise EngineError(
            f"environment variable {THREADS_VARIABLE}={value!r}: expected the number of CPU threads, from 1"
        )


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
