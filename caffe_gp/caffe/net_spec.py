"""Nets written in Python: ``NetSpec``, ``layers``, ``params``, ``to_proto`` (pycaffe's ``caffe.net_spec``).

For example:

    from caffe_gp.caffe import NetSpec, layers as L, params as P
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 8, 8]))
    n.conv = L.Convolution(n.data, num_output=4, kernel_size=3)
    n.pool = L.Pooling(n.conv, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    print(n.to_proto())
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe_gp.caffe.layers import layer_type_list, own_parameters
from caffe_gp.caffe.proto import caffe_pb2
from caffe_gp.errors import NetError, did_you_mean
from caffe_gp.proto import messages as pb
from caffe_gp.proto import own_fields

__all__ = [
    "Function", "InputError", "Layers", "NetSpec", "Parameters", "Top", "assign_proto", "caffe_pb2", "layers",
    "param_name_dict", "params", "to_proto",
]  # fmt: skip


class InputError(NetError, TypeError):
    """A layer's input is not a Top. Also a TypeError, which is what pycaffe raises."""


def param_name_dict() -> dict[str, str]:
    """Layer type -> name of its parameter field less ``_param``: ``{"InnerProduct": "inner_product"}`` etc.

    Taken from the schema: the field ``inner_product_param`` has the type InnerProductParameter.
    """
    return {
        field.message_type.name[: -len("Parameter")]: field.name[: -len("_param")]
        for field in reversed(list(pb.LayerParameter.DESCRIPTOR.fields))  # of several of one type the first
        if field.name.endswith("_param")
    }


def assign_proto(message: Any, name: str, value: Any) -> None:
    """Set ``message.name`` from plain Python: dicts are messages, lists are repeated, and where the field is
    repeated one value will do for a list of one."""
    field = getattr(message, name)
    if hasattr(field, "extend"):
        values = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
        for item in values:
            if isinstance(item, Mapping):
                _assign_all(field.add(), item)
            else:
                field.append(item)
    elif isinstance(value, Mapping):
        field.SetInParent()
        _assign_all(field, value)
    else:
        setattr(message, name, value)


def _assign_all(message: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        assign_proto(message, name, value)


def _no_parameter(layer_type: str, layer: str, name: str, own_param: Any) -> str:
    known = layer_type_list()
    if layer_type not in known:
        near = did_you_mean(layer_type, known)
        return f"{layer_type} layer '{layer}' has no parameter '{name}': no layer type has that name{near}"
    fields = [field.name for field in own_param.DESCRIPTOR.fields] if own_param is not None else []
    return f"{layer_type} layer '{layer}' has no parameter '{name}'{did_you_mean(name, fields)}"


class Top:
    """One output blob of a Function: number ``n`` of those that ``fn`` makes."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> Any:
        """A NetParameter of all layers that this blob needs."""
        return to_proto(self)


class Function:
    """A layer in the making: its type, its inputs (Tops), its parameters.

    ``ntop`` (1) and ``in_place`` (False) among the parameters are about the layer, not part of it.
    """

    def __init__(self, type_name: str, inputs: tuple[Top, ...], params: dict[str, Any]) -> None:
        for i, top in enumerate(inputs):
            if not isinstance(top, Top):
                raise InputError(f"{type_name} input {i} is not a Top (type is {type(top)})")
        self.type_name = type_name
        self.inputs = inputs
        self.params = params
        self.ntop = params.pop("ntop", 1)
        self.in_place = params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))


class _Writer:
    """Puts functions into a NetParameter in the order in which they are needed, with names."""

    def __init__(self, names: dict[Top | Function, str]) -> None:
        self.net = pb.NetParameter()
        self._names = dict(names)
        self._counts: Counter[str] = Counter()
        self._tops: dict[Function, list[str]] = {}  # written functions -> names of their tops

    def write(self, fn: Function) -> None:
        """Write ``fn`` after what it needs. Iterative: nets may be deeper than Python's stack."""
        pending = [fn]
        while pending:
            fn = pending[-1]
            missing = [top.fn for top in fn.inputs if top.fn not in self._tops]
            if missing:
                pending.extend(reversed(missing))
                continue
            pending.pop()
            if fn not in self._tops:
                self._write_layer(fn)

    def _write_layer(self, fn: Function) -> None:
        layer = self.net.layer.add(type=fn.type_name)
        layer.bottom.extend(self._tops[top.fn][top.n] for top in fn.inputs)
        layer.top.extend(layer.bottom if fn.in_place else [self._name(top, fn.type_name) for top in fn.tops])
        layer.name = self._name(fn.tops[0] if fn.tops else fn, fn.type_name)
        own_field = f"{_PARAM_NAMES.get(fn.type_name, '')}_param"
        own_param = getattr(layer, own_field, None) or own_parameters(layer)
        for name, value in fn.params.items():
            if own_param is not None and hasattr(own_param, name):
                assign_proto(own_param, name, value)
            elif name in own_fields.names() and isinstance(value, Mapping):
                _assign_all(own_fields.value(layer, name), value)
            elif hasattr(layer, name):
                assign_proto(layer, name, value)
            else:
                raise AttributeError(_no_parameter(fn.type_name, layer.name, name, own_param))
        self._tops[fn] = list(layer.top)

    def _name(self, item: Top | Function, type_name: str) -> str:
        if item not in self._names:
            self._counts[type_name] += 1
            self._names[item] = f"{type_name}{self._counts[type_name]}"
        return self._names[item]


def to_proto(*tops: Top | Function) -> Any:
    """A NetParameter of all layers that the tops need; names are the type and a number.

    A layer without tops (``ntop=0``) may be given as the Function that it is.
    """
    writer = _Writer({})
    for top in tops:
        writer.write(top if isinstance(top, Function) else top.fn)
    return writer.net


class NetSpec:
    """A namespace of Tops: assigning ``n.conv1 = L.Convolution(...)`` names the blob and its layer."""

    tops: dict[str, Top | Function]

    def __init__(self) -> None:
        super().__setattr__("tops", {})

    def __setattr__(self, name: str, value: Top | Function) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["tops"][name]
        except KeyError:
            raise AttributeError(f"the net has no '{name}' yet") from None

    def __setitem__(self, name: str, value: Top | Function) -> None:
        self.tops[name] = value

    def __getitem__(self, name: str) -> Any:
        return self.tops[name]

    def to_proto(self) -> Any:
        """A NetParameter of all layers that the named tops need, in the order of the assignments."""
        for name, value in self.tops.items():
            if not isinstance(value, (Top, Function)):
                raise InputError(f"'{name}' is not a Top (type is {type(value)})")
        writer = _Writer({top: name for name, top in self.tops.items()})
        for value in self.tops.values():
            writer.write(value if isinstance(value, Function) else value.fn)
        return writer.net


class Layers:
    """``layers.Convolution(bottom, num_output=8)`` makes the Top of such a layer; any type name will do.

    Returns the Top, a tuple of them for ``ntop`` > 1, or the Function for ``ntop=0``.
    """

    def __getattr__(self, type_name: str) -> Any:
        if type_name.startswith("__"):
            raise AttributeError(type_name)

        def make_layer(*inputs: Top, **params: Any) -> Any:
            fn = Function(type_name, inputs, params)
            if fn.ntop == 0:
                return fn
            return fn.tops[0] if fn.ntop == 1 else fn.tops

        make_layer.__name__ = type_name
        return make_layer


class Parameters:
    """``params.Pooling.MAX`` is the enum value of PoolingParameter; any ``...Parameter`` will do."""

    def __getattr__(self, name: str) -> Any:
        try:
            return pb.MESSAGES[name + "Parameter"]
        except KeyError:
            raise AttributeError(f"there is no {name}Parameter") from None


_PARAM_NAMES = param_name_dict()
layers = Layers()
params = Parameters()
