"""The module that ENet's unmerged prototxts name: dropout of whole channels, which passes everything in TEST.

Written for these tests; the released one is not at hand.
"""

from __future__ import annotations

import ast
from typing import Any

try:
    from caffe import Layer
except ImportError:  # BVLC Caffe is not here
    from caffe_gp.caffe import Layer


class SpatialDropoutLayer(Layer):
    """The identity, in both phases: its users here only look at what the trained net computes."""

    def setup(self, bottom: Any, top: Any) -> None:
        """``param_str`` is a Python dict of strings: phase and p."""
        self.settings = ast.literal_eval(self.param_str)

    def reshape(self, bottom: Any, top: Any) -> None:
        """The bottom's shape."""
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom: Any, top: Any) -> None:
        """Copy."""
        top[0].data[...] = bottom[0].data

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        """Copy."""
        bottom[0].diff[...] = top[0].diff
