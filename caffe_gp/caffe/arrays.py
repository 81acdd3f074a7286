"""Arithmetic on numpy arrays where layers compute: on the CPU or the CUDA device of ``mode``."""

from __future__ import annotations

import numpy as np
import torch

from caffe_gp.caffe import mode


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix product of two float32 arrays, as a new array; in strict float32 whatever TF32 is set to."""
    flags = torch.backends.cuda.matmul
    allowed, flags.allow_tf32 = flags.allow_tf32, False
    try:
        left, right = (torch.from_numpy(np.require(x, requirements="W")).to(mode.device()) for x in (a, b))
        return (left @ right).cpu().numpy()
    finally:
        flags.allow_tf32 = allowed
