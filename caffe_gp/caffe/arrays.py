"""Arithmetic for others than layers where layers compute: on the CPU or the CUDA device of ``mode``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from caffe_gp.caffe import mode
from caffe_gp.caffe.precision import computing_in

if TYPE_CHECKING:
    from caffe_gp.crf.rows import Rows


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix product of two float32 arrays, as a new array; in strict float32 whatever TF32 is set to."""
    with computing_in("float32"):
        left, right = (torch.from_numpy(np.require(x, requirements="W")).to(mode.device()) for x in (a, b))
        return (left @ right).cpu().numpy()


def crf_rows() -> Rows:
    """What a dense CRF computes with: the compiled lattice on the CPU, tensors on a device."""
    # Imported here: numba takes a while, and few need it.
    from caffe_gp.caffe.permutohedral import TensorRows
    from caffe_gp.crf import NumpyRows

    device = mode.device()
    return cast("Rows", NumpyRows) if device.type == "cpu" else TensorRows(device)
