"""The lists of a net under the names of pycaffe's C++ vectors, which scripts test types against."""

from __future__ import annotations


class IntVec(list):
    """Indices, as ``net._inputs``."""


class StringVec(list):
    """Names, as ``net._layer_names``."""


class DtypeVec(list):
    """Numbers, as ``net._blob_loss_weights``."""


class BoolVec(list):
    """Flags."""


class LayerVec(list):
    """Layers, as ``net.layers``."""


class NetVec(list):
    """Nets, as ``solver.test_nets``."""


RawBlobVec = list  # the bottoms and tops that a layer is called with
