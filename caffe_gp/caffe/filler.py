"""Fillers: initial values of parameters, by the rules of Caffe's ``FillerParameter``."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from caffe_gp.caffe import memory
from caffe_gp.caffe.blob import Blob
from caffe_gp.errors import NetError
from caffe_gp.proto import messages as pb


class _Postponed(threading.local):
    def __init__(self) -> None:
        self.lists: list[list[Callable[[], None]]] = []


_postponed = _Postponed()


@contextmanager
def postponed() -> Iterator[list[Callable[[], None]]]:
    """Within it ``fill`` only checks; what it would have done is in the list, to be called."""
    _postponed.lists.append([])
    try:
        yield _postponed.lists[-1]
    finally:
        _postponed.lists.pop()


def fill(blob: Blob, param: Any) -> None:
    """Fill the blob's data by ``param`` (FillerParameter); random ones draw from torch's generator.

    Within ``postponed``, not yet.

    Raises NetError for an unknown type, a range that is none, or a shape that the filler cannot fill: as in
    Caffe, one without elements.
    """
    if not blob.count:
        raise NetError(f"a {param.type} filler has nothing to fill in the shape {blob.shape}")
    if param.type == "uniform" and not param.min <= param.max:
        raise NetError(f"uniform filler: min {param.min:g} must not exceed max {param.max:g}")
    if param.type == "gaussian" and not param.std >= 0:
        raise NetError(f"gaussian filler: std {param.std:g} must not be negative")
    if memory.is_shapes_only():
        return
    made = 1 if param.type in ("constant", "bilinear") else 2  # random values are drawn, then copied
    memory.need(made * memory.BYTES * blob.count, f"a {param.type} filler for the shape {blob.shape}")
    if param.type not in _FILLERS:
        raise NetError(f"unknown filler type '{param.type}'; known: {', '.join(sorted(_FILLERS))}")
    if _postponed.lists:
        _postponed.lists[-1].append(partial(_fill_now, blob, param))
    else:
        _fill_now(blob, param)


def _fill_now(blob: Blob, param: Any) -> None:
    values = _FILLERS[param.type](blob.shape, param)
    blob.write_data(lambda array: torch.from_numpy(array).copy_(values))


def _constant(shape: tuple[int, ...], param: Any) -> torch.Tensor:
    return torch.tensor(param.value).expand(shape)


def _uniform(shape: tuple[int, ...], param: Any) -> torch.Tensor:
    return torch.empty(shape).uniform_(param.min, param.max)


def _gaussian(shape: tuple[int, ...], param: Any) -> torch.Tensor:
    values = torch.empty(shape).normal_(param.mean, param.std)
    if param.sparse < 0:
        return values
    # On average `sparse` inputs of each output are nonzero.
    if not shape or shape[0] < 1 or param.sparse > shape[0]:
        raise NetError(f"gaussian filler: sparse {param.sparse} does not suit the shape {shape}")
    return values * torch.empty(shape).bernoulli_(param.sparse / shape[0])


def _positive_unitball(shape: tuple[int, ...], param: Any) -> torch.Tensor:
    rows = torch.rand(shape).reshape(_outer(shape), -1)
    return (rows / rows.sum(1, keepdim=True)).reshape(shape)


def _xavier(shape: tuple[int, ...], param: Any) -> torch.Tensor:
    bound = math.sqrt(3.0 / _fan(shape, param))
    return torch.empty(shape).uniform_(-bound, bound)


def _msra(shape: tuple[int, ...], param: Any) -> torch.Tensor:
    return torch.empty(shape).normal_(0.0, math.sqrt(2.0 / _fan(shape, param)))


def _fan(shape: tuple[int, ...], param: Any) -> float:
    count = math.prod(shape)
    fan_in = count / _outer(shape)
    fan_out = count / shape[1] if len(shape) > 1 else count
    if param.variance_norm == pb.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if param.variance_norm == pb.FillerParameter.FAN_OUT else fan_in


def _outer(shape: tuple[int, ...]) -> int:
    return shape[0] if shape else 1


def _bilinear(shape: tuple[int, ...], param: Any) -> torch.Tensor:
    """The upsampling kernel, in *every* (output, input) pair: right for one input channel a group only."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise NetError(f"bilinear filler: needs a 4-D blob with a square kernel, found the shape {shape}")
    side = shape[3]
    f = math.ceil(side / 2)
    c = (side - 1) / (2 * f)
    line = 1 - (torch.arange(side, dtype=torch.float32) / f - c).abs()
    return torch.outer(line, line).expand(shape)


_FILLERS = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
