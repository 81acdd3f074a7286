"""Where the embedded Caffe computes: ``set_mode_cpu``, ``set_mode_gpu``, ``set_device``.

As in Caffe, the mode is read at every pass, so a net can be built first and moved later; blobs follow
on their next use. Unlike BVLC Caffe the setting is one for the whole process, not one a thread: a net
used from a second thread runs where it was told to.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import torch

from caffe_gp.errors import EngineError
from caffe_gp.provenance import DEVICE_VARIABLE

log = logging.getLogger(__name__)

_CUBLAS_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
_CUBLAS_WORKSPACES = (":4096:8", ":16:8")  # NVIDIA's: with these, sums are taken in one order
_CPU = torch.device("cpu")
_device = _CPU
_device_id = 0
_forked = False


def device() -> torch.device:
    """The device that layers compute on now."""
    return _device


def set_mode_cpu() -> None:
    """Compute on the CPU (the default)."""
    global _device
    _device = _CPU


def set_mode_gpu() -> None:
    """Compute on the CUDA device chosen by :func:`set_device` (0 by default).

    Raises EngineError when this machine or this build of torch has no such device. Where there is none at
    all and CAFFE_GP_DEVICE is 'cpu', a script computes on the CPU instead, with a warning in Caffe's log.
    Arithmetic is strict float32: TF32 stays off unless :func:`allow_tf32` was called.
    """
    global _device
    if _check(_device_id):
        _device = torch.device("cuda", _device_id)


def set_device(device_id: int) -> None:
    """Choose the CUDA device for :func:`set_mode_gpu`; takes effect at once if the mode is GPU."""
    global _device, _device_id
    if not _check(device_id):
        return
    _device_id = device_id
    if _device.type == "cuda":
        _device = torch.device("cuda", device_id)


def allow_tf32(allowed: bool) -> None:
    """Permit tensor-core TF32 arithmetic (10 bits of mantissa) in convolutions and matrix products."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def set_random_seed(seed: int) -> None:
    """Seed fillers, Dropout, DummyData and stochastic pooling. The streams are not BVLC Caffe's."""
    torch.manual_seed(seed)


def set_threads(threads: int) -> None:
    """Compute on this many CPU threads from now on. Sums are split among them, so last bits change.

    A forked child keeps to one thread, whatever is asked for: more would wait for ever.
    """
    torch.set_num_threads(1 if _forked else threads)


def set_deterministic(wanted: bool) -> None:
    """Compute the same bits pass after pass and run after run, on one machine with one number of threads.

    The CPU does so anyway. On a GPU slower algorithms are chosen, and a layer for which PyTorch has none
    raises NetError. Raises EngineError where CUDA has started without the workspace that its matrix products
    then need.
    """
    if wanted:
        chosen = os.environ.setdefault(_CUBLAS_VARIABLE, _CUBLAS_WORKSPACES[0])
        if chosen not in _CUBLAS_WORKSPACES:
            raise EngineError(
                f"environment variable {_CUBLAS_VARIABLE}={chosen!r}: deterministic products need "
                f"{' or '.join(_CUBLAS_WORKSPACES)}; unset it"
            )
        if torch.cuda.is_initialized() and not torch.are_deterministic_algorithms_enabled():
            raise EngineError(
                "CUDA has started in this process, perhaps with other settings: ask for deterministic "
                "results before the first net computes on the GPU"
            )
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.deterministic = wanted
    torch.backends.cudnn.benchmark = False


def set_benchmark(wanted: bool) -> None:
    """On a GPU, let cuDNN time its algorithms once for every new shape; not where results are deterministic.

    It pays where shapes come again and again, and last bits then differ from run to run.
    """
    torch.backends.cudnn.benchmark = wanted and not torch.are_deterministic_algorithms_enabled()


def engine_description() -> dict[str, Any]:
    """What decides the last bits of a result, besides the processor."""
    # A plain str: whoever unpickles torch's own type imports torch.
    return {
        "torch": str(torch.__version__),
        "threads": str(torch.get_num_threads()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def gpu_count() -> int:
    """How many CUDA devices this build of torch sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _check(device_id: int) -> bool:
    """Whether to use the GPU; False where there is none and CAFFE_GP_DEVICE says cpu."""
    count = gpu_count()
    if 0 <= device_id < count:
        return True
    if not count and os.environ.get(DEVICE_VARIABLE, "").strip() == "cpu":
        log.warning("There is no GPU here: computing on the CPU, as %s=cpu says", DEVICE_VARIABLE)
        return False
    on_the_cpu = (
        f"To run the script on the CPU as it is, set the environment variable {DEVICE_VARIABLE}=cpu; in your "
        "own, call set_mode_cpu(). "
    )
    raise EngineError(
        f"GPU {device_id} was asked for, but torch {torch.__version__} sees {count} CUDA device(s). "
        f"{'' if count else on_the_cpu}A GPU needs a CUDA build of torch and the NVIDIA driver"
    )


def _after_fork() -> None:
    # The threads of the parent's OpenMP pool do not survive a fork: a child that computes with several
    # waits for them for ever.
    global _forked
    _forked = True
    torch.set_num_threads(1)


allow_tf32(False)
os.register_at_fork(after_in_child=_after_fork)
