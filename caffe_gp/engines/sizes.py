"""Which images a net has the memory for: from its description alone, without taking any (embedded Caffe)."""

from __future__ import annotations

import os
from typing import Any, Tuple

from caffe_gp.engines.nets import prepare_net
from caffe_gp.errors import NetError

Size = Tuple[int, int]  # width, height


def max_bytes() -> int:
    """What a net may take: see ``caffe.memory.max_bytes``."""
    from caffe_gp.caffe import memory

    return memory.max_bytes()


def memory_for(path: str | os.PathLike, size: Size, blob: str = "data", **options: Any) -> Any:
    """What the net of a prototxt takes for one image of ``size``: a ``caffe.memory_use.MemoryUse``.

    blob      is perturbed; 'data' is the input, whatever its name
    options   as ``prepare_net`` takes them
    Layers of type "Python" that are not ours are refused: they would run. Raises as ``prepare_net``.
    """
    from caffe_gp.caffe.memory_use import memory_use

    shape = (1, None, size[1], size[0])
    options = {**options, "engine": "torch", "input_shape": shape, "allow_python_layers": ()}
    prepared = prepare_net(path, **options)
    return memory_use(prepared.net, prepared.data if blob == "data" else blob, os.fspath(path))


def largest_size(
    path: str | os.PathLike, size: Size, limit: int, blob: str = "data", **options: Any
) -> Size | None:
    """The largest size, of the shape of ``size``, with which guided perturbations take no more than that.

    limit   bytes
    None where there is none. The other arguments are those of ``memory_for``, and so are the errors.
    """

    def scaled(width: int) -> Size:
        return width, max(1, round(width * size[1] / size[0]))

    def fits(width: int) -> bool:
        try:
            return bool(memory_for(path, scaled(width), blob, **options).backward <= limit)
        except NetError:  # below the size asked for too small for a kernel, above it beyond Caffe's limits
            return width < size[0]

    asked = memory_for(path, size, blob, **options).backward
    low, high = (size[0], 2 * size[0]) if asked <= limit else (0, size[0])
    while low == high // 2 and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return scaled(low) if low else None
