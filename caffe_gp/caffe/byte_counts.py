"""How many bytes a net takes with its blobs as they are shaped now, whether it has taken them or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers import Layer
from caffe_gp.caffe.memory import BYTES


class _Wired(Protocol):
    """Layers and blobs, and which belong together: see ``Construction``."""

    layers: list[Layer]
    blobs: list[Blob]
    bottom_index: list[list[int]]
    top_index: list[list[int]]
    bottom_need_backward: list[list[bool]]
    need_backward: list[bool]


def own_bytes(layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
    """Of the layer's parameters, its tops where they are no other blob's memory, and what it keeps."""
    tops = [] if layer.shares_memory else [blob for blob in top if all(blob is not b for b in bottom)]
    return BYTES * (sum(blob.count for blob in [*layer.blobs, *tops]) + layer.kept(bottom, top))


def workspace_bytes(layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
    """What a pass of the layer takes besides."""
    return BYTES * layer.workspace(bottom, top)


class ByteCounts:
    """Of a net that is built.

    What the libraries below take for themselves comes on top.
    """

    def __init__(self, net: _Wired) -> None:
        self._net = net

    def _each(self) -> Iterable[tuple[Layer, list[Blob], list[Blob]]]:
        blobs = self._net.blobs
        for layer, bottoms, tops in zip(self._net.layers, self._net.bottom_index, self._net.top_index):
            yield layer, [blobs[i] for i in bottoms], [blobs[i] for i in tops]

    def forward(self) -> int:
        """Parameters and tops, and what the layer that takes most takes besides."""
        most = max((workspace_bytes(*one) for one in self._each()), default=0)
        return sum(own_bytes(*one) for one in self._each()) + most

    def diffs(self, first: int = 0) -> int:
        """What a backward down to layer ``first``, this included, adds: the diffs that it makes."""
        net = self._net
        wanted = {
            blob
            for i, bottoms in enumerate(net.bottom_index)
            for blob, need in zip(bottoms, net.bottom_need_backward[i])
            if need and i >= first and net.need_backward[i] and not net.layers[i].shares_memory
        }
        return BYTES * sum(net.blobs[i].count for i in wanted)
