"""Layer types by name: ``@register("Convolution")`` and the factory that nets use."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from caffe_gp.caffe.layers.base import Layer
from caffe_gp.errors import NetError, UnknownLayerTypeError

_REGISTRY: dict[str, type[Layer]] = {}
L = TypeVar("L", bound=type[Layer])


def register(layer_type: str) -> Callable[[L], L]:
    """Class decorator: make the class the implementation of ``layer_type``."""

    def add(cls: L) -> L:
        if layer_type in _REGISTRY:
            raise ValueError(f"layer type {layer_type} is registered twice")
        _REGISTRY[layer_type] = cls
        if "type" not in vars(cls):
            cls.type = layer_type
        return cls

    return add


def layer_type_list() -> list[str]:
    """Names of all layer types, sorted (pycaffe's ``caffe.layer_type_list``)."""
    return sorted([*_REGISTRY, "Python"])


def check_layer_types(net_param: Any, source: str) -> None:
    """Raise UnknownLayerTypeError for the first layer whose type is not registered."""
    known = layer_type_list()
    for layer in net_param.layer:
        if layer.type not in known:
            near = difflib.get_close_matches(layer.type, known, n=3, cutoff=0.5) or known
            raise UnknownLayerTypeError(
                f"{source}: layer '{layer.name}' has the unknown type '{layer.type}'; "
                f"nearest known types: {', '.join(near)}"
            )


def create_layer(layer_param: Any, phase: int) -> Layer:
    """The layer for a LayerParameter whose type is registered, or the user's class for ``Python``."""
    if layer_param.type == "Python":
        return _create_python_layer(layer_param, phase)
    return _REGISTRY[layer_param.type](layer_param, phase)


def _create_python_layer(layer_param: Any, phase: int) -> Layer:
    module_name, class_name = layer_param.python_param.module, layer_param.python_param.layer
    where = f"layer '{layer_param.name}' (Python)"
    if not module_name or not class_name:
        raise NetError(f"{where}: python_param needs module and layer")
    if module_name not in sys.modules and importlib.util.find_spec(module_name) is None:
        raise NetError(
            f"{where}: module '{module_name}' was not found; put its folder on PYTHONPATH "
            f"(searched {os.pathsep.join(sys.path[:5])} ...)"
        )
    cls = getattr(importlib.import_module(module_name), class_name, None)
    if cls is None:
        raise NetError(f"{where}: module '{module_name}' has no class '{class_name}'")
    if not issubclass(cls, Layer):
        raise NetError(f"{where}: {module_name}.{class_name} does not derive from caffe.Layer")
    layer = cls.__new__(cls)
    Layer.__init__(layer, layer_param, phase)
    layer.param_str = layer_param.python_param.param_str
    return layer
