"""Layer types by name: ``@register("Convolution")`` and the factory that nets use."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from caffe_gp.caffe.alias import importable_as_caffe
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.errors import UnknownLayerTypeError
from caffe_gp.proto import schema
from caffe_gp.python_layers.users import (
    BUILT_IN,
    folders_for,
    is_there,
    layer_class,
    modules_of,
    report_errors,
)

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
            what = f"layer '{layer.name}' has the unknown type '{layer.type}'"
            raise UnknownLayerTypeError(f"{source}: {what}{_hint(layer.type, known)}")


def _hint(layer_type: str, known: list[str]) -> str:
    fork = schema.fork_of_type(layer_type)
    if fork:
        return f". It comes from a fork of Caffe: {fork}. {schema.FORK_REMEDY}"
    near = difflib.get_close_matches(layer_type, known, n=3, cutoff=0.5) or known
    return f"; nearest known types: {', '.join(near)}"


def create_layer(layer_param: Any, phase: int, source: str = "") -> Layer:
    """The layer for a LayerParameter whose type is registered, or the user's class for ``Python``.

    source  the prototxt: a user's module may lie beside it, and goes before a layer that is built in for it
    """
    if layer_param.type == "Python":
        module, name = layer_param.python_param.module, layer_param.python_param.layer
        if (module, name) in BUILT_IN and not is_there(module, folders_for(source)):
            return _REGISTRY[BUILT_IN[module, name]](layer_param, phase)
        return _create_python_layer(layer_param, phase, source)
    return _REGISTRY[layer_param.type](layer_param, phase)


def _create_python_layer(layer_param: Any, phase: int, source: str) -> Layer:
    where = f"layer '{layer_param.name}' (Python)"
    folders = folders_for(source)
    with importable_as_caffe():
        cls = layer_class(where, layer_param.python_param, folders, Layer)
    layer = cls.__new__(cls)
    Layer.__init__(layer, layer_param, phase)
    layer.param_str = layer_param.python_param.param_str

    @contextmanager
    def around() -> Iterator[None]:
        with importable_as_caffe(), modules_of(folders):
            yield

    report_errors(layer, where, around)
    return layer
