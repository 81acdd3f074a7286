"""pycaffe's C++ module ``caffe._caffe``: what the scripts that reach into it find there."""

from __future__ import annotations

from caffe_gp.caffe import (
    NCCL,
    __version__,
    has_nccl,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from caffe_gp.caffe.blob import Blob, BlobVec
from caffe_gp.caffe.layers import Layer, layer_type_list
from caffe_gp.caffe.logs import init_log, log
from caffe_gp.caffe.mode import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from caffe_gp.caffe.net import Net
from caffe_gp.caffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Solver,
    get_solver,
)
from caffe_gp.caffe.timer import Timer
from caffe_gp.caffe.vectors import BoolVec, DtypeVec, IntVec, LayerVec, NetVec, RawBlobVec, StringVec
from caffe_gp.proto import messages

LayerParameter, SolverParameter = messages.LayerParameter, messages.SolverParameter

__all__ = [
    "NCCL", "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Blob", "BlobVec", "BoolVec",
    "DtypeVec", "IntVec", "Layer", "LayerParameter", "LayerVec", "NesterovSolver", "Net", "NetVec",
    "RMSPropSolver", "RawBlobVec", "SGDSolver", "Solver", "SolverParameter", "StringVec", "Timer",
    "__version__", "get_solver", "has_nccl", "init_log", "layer_type_list", "log", "set_device",
    "set_mode_cpu", "set_mode_gpu", "set_multiprocess", "set_random_seed", "set_solver_count",
    "set_solver_rank", "solver_count", "solver_rank",
]  # fmt: skip
