"""The class that our Python layers derive from: ``Layer`` of the Caffe in use.

Each Caffe builds only layers that derive from its own class. The Caffe in use is the one that is loaded when
a net first needs the layer: BVLC Caffe's ``caffe`` if that is there, else the embedded one. Whoever imports a
layer before any Caffe gets the embedded one, or BVLC Caffe where PyTorch is missing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any


def _layer_class() -> Any:
    loaded = sys.modules.get("caffe")
    if hasattr(loaded, "Layer"):
        return loaded.Layer  # type: ignore[union-attr]
    has_torch = importlib.util.find_spec("torch") is not None
    return importlib.import_module("caffe_gp.caffe" if has_torch else "caffe").Layer


Layer: Any = _layer_class()
