"""How many bytes a net takes for a forward and a backward: from its description, before any is taken."""

from __future__ import annotations

from typing import Any, NamedTuple

from caffe_gp.caffe import memory
from caffe_gp.caffe.construction import Construction
from caffe_gp.errors import NetError
from caffe_gp.proto import messages as pb


class MemoryUse(NamedTuple):
    """Bytes: parameters, tops and the largest computation; the same and the diffs down to a blob.

    What the libraries below take for themselves comes on top.
    """

    forward: int
    backward: int


def memory_use(param: Any, blob: str, source: str) -> MemoryUse:
    """Of an upgraded NetParameter in its TEST phase, with a backward down to ``blob``.

    The layers are set up as for use, but parameters stay empty. Raises NetError for what is no net, and where
    there is no such blob.
    """
    with memory.shapes_only():
        built = Construction(param, pb.TEST, 0, (), source)
    made = [i for i, tops in enumerate(built.top_index) if blob in [built.blob_names[k] for k in tops]]
    if not made:
        raise NetError(f"{source}: there is no blob '{blob}'")
    counts = built.byte_counts
    forward = counts.forward()
    return MemoryUse(forward, forward + counts.diffs(made[0] + 1))
