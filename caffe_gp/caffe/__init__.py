"""The embedded Caffe: pycaffe's public names on PyTorch.

    import caffe_gp.caffe as caffe
    net = caffe.Net("deploy.prototxt", "weights.caffemodel", caffe.TEST)

``python -m caffe_gp.caffe script.py`` runs an unmodified pycaffe script on it.
"""

from __future__ import annotations

import importlib
from typing import Any

from caffe_gp.caffe.arrays import crf_rows, matmul
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers import Layer, layer_type_list, register_layer
from caffe_gp.caffe.logs import init_log, log
from caffe_gp.caffe.mode import (
    allow_tf32,
    engine_description,
    set_benchmark,
    set_deterministic,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_random_seed,
    set_threads,
)
from caffe_gp.caffe.net import Net
from caffe_gp.caffe.net_spec import (
    NetSpec,
    layers,
    params,
    to_proto,
)  # `layers` hides the sub-package, as pycaffe's
from caffe_gp.caffe.signals import SignalHandler
from caffe_gp.caffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)
from caffe_gp.errors import EngineError

__version__ = "1.0.0"  # of the Caffe whose interface and results this is

TRAIN, TEST = 0, 1

__all__ = [
    "NCCL", "TEST", "TRAIN", "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Blob", "Classifier",
    "Detector", "Layer", "NesterovSolver", "Net", "NetSpec", "RMSPropSolver", "SGDSolver",
    "SignalHandler", "Timer", "allow_tf32", "classifier", "coord_map", "crf_rows", "detector", "draw",
    "engine_description", "get_solver", "has_nccl", "init_log", "io", "layer_type_list", "layers", "log",
    "matmul", "net_spec", "params", "proto", "register_layer",
    "set_benchmark", "set_deterministic", "set_device", "set_mode_cpu", "set_mode_gpu", "set_multiprocess",
    "set_random_seed", "set_solver_count", "set_solver_rank", "set_threads", "solver_count", "solver_rank",
    "to_proto",
]  # fmt: skip

# Loaded when first used: they bring OpenCV and other packages that a net alone does not need.
_LAZY = {
    "Classifier": ("classifier", "Classifier"),
    "Detector": ("detector", "Detector"),
    "Timer": ("timer", "Timer"),
    **{
        name: (name, None)
        for name in (
            "_caffe",
            "classifier",
            "coord_map",
            "detector",
            "draw",
            "io",
            "net_spec",
            "proto",
            "pycaffe",
        )
    },
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module_name, attribute = _LAZY[name]
    module = importlib.import_module(f"{__name__}.{module_name}")
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


# ---- names that scripts call and that have nothing to do here: one process drives one device


def has_nccl() -> bool:
    """False: training on several devices at once is not offered."""
    return False


def solver_count() -> int:
    """1: see ``has_nccl``."""
    return 1


def solver_rank() -> int:
    """0: see ``has_nccl``."""
    return 0


def set_solver_count(count: int) -> None:
    """Accepted for scripts' sake; only 1 has an effect, namely none."""


def set_solver_rank(rank: int) -> None:
    """Accepted for scripts' sake."""


def set_multiprocess(multiprocess: bool) -> None:
    """Accepted for scripts' sake."""


class NCCL:
    """Present so that scripts find the name; see ``has_nccl``."""

    def __init__(self, solver: Any, uid: Any = "") -> None:
        raise EngineError(
            "NCCL: training on several devices at once is not offered; use one solver on one device"
        )

    @staticmethod
    def new_uid() -> bytes:
        """Accepted for scripts' sake."""
        return b""
