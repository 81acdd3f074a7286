"""Layer types by name: ``@register("Convolution")`` and the factory that nets use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from caffe_gp.caffe.alias import importable_as_caffe
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.errors import NetError, UnknownLayerTypeError, nearest
from caffe_gp.proto import forks, own_fields
from caffe_gp.proto import messages as pb
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


def registered() -> dict[str, type[Layer]]:
    """The classes by type, without "Python"."""
    return dict(_REGISTRY)


def check_layer_types(net_param: Any, source: str) -> None:
    """Raise UnknownLayerTypeError for the first layer whose type is not registered."""
    known = layer_type_list()
    for layer in net_param.layer:
        if layer.type not in known:
            what = f"layer '{layer.name}' has the unknown type '{layer.type}'"
            raise UnknownLayerTypeError(f"{source}: {what}{_hint(layer, known)}")


def check_forks_fields(param: Any, source: str) -> None:
    """Raise NetError for a field of a fork, in a NetParameter or a layer of it, that nothing here heeds.

    The transform of a layer that brings no images counts for nothing, as in Caffe.
    """
    for message in (param, *param.layer):
        is_layer = message is not param
        brings = is_layer and not message.bottom and message.type not in ("Input", "DummyData", "Parameter")
        for name in forks.unheeded(message, but=() if brings else ("transform_param",)):
            where = f"layer '{message.name}' ({message.type}): " if is_layer else ""
            raise NetError(
                f"{source}: {where}{name} is {forks.whose(name)}, which changes what is computed; that is "
                "not available here. Remove it if the net does not depend on it"
            )


def _hint(layer: Any, known: list[str]) -> str:
    fork = forks.fork_of(layer.type)
    if fork:
        to_do = f"{forks.unavailable(layer)}, or {forks.WRITE_IT}"
        return f". It comes from a fork of Caffe: {fork}. What to do: {to_do}"
    near = nearest(layer.type, known, cutoff=0.5) or known
    return f"; nearest known types: {', '.join(near)}. If it is a layer of your own, {forks.WRITE_IT}"


def create_layer(layer_param: Any, phase: int, source: str = "") -> Layer:
    """The layer for a LayerParameter whose type is registered, or the user's class for ``Python``.

    source  the prototxt: a user's module may lie beside it, and goes before a layer that is built in for it
    """
    if layer_param.type == "Python":
        module, name = layer_param.python_param.module, layer_param.python_param.layer
        folders = folders_for(source)
        if (module, name) in BUILT_IN and not is_there(module, folders):
            return _REGISTRY[BUILT_IN[module, name]](layer_param, phase)
        where = f"layer '{layer_param.name}' (Python)"
        with importable_as_caffe():
            cls = layer_class(where, layer_param.python_param, folders, Layer)
        return _create_users_layer(cls, layer_param, phase, folders)
    cls = _REGISTRY[layer_param.type]
    if cls.own_field is not None:
        return _create_users_layer(cls, layer_param, phase, ())
    return cls(layer_param, phase)


def _create_users_layer(cls: type[Layer], layer_param: Any, phase: int, folders: Sequence[str]) -> Layer:
    """A layer whose code is the user's: what it raises is reported with the layer, file and line."""
    layer = cls.__new__(cls)
    Layer.__init__(layer, layer_param, phase)
    layer.param_str = layer_param.python_param.param_str
    layer.param = own_parameters(layer_param)

    @contextmanager
    def around() -> Iterator[None]:
        with importable_as_caffe(), modules_of(folders):
            yield

    report_errors(layer, f"layer '{layer_param.name}' ({layer_param.type})", around)
    return layer


def own_parameters(layer_param: Any) -> Any:
    """The parameters of a user's layer: its own field, or that which the schema has for its type; or None."""
    field = _REGISTRY[layer_param.type].own_field if layer_param.type in _REGISTRY else None
    if field:
        return own_fields.value(layer_param, field)
    of_type = f"{layer_param.type}Parameter"
    fields = (one for one in pb.LayerParameter.DESCRIPTOR.fields if one.message_type is not None)
    known = next((one.name for one in fields if one.message_type.name == of_type), "")
    return getattr(layer_param, known) if known and field is not None else None
