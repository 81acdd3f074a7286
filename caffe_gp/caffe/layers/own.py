"""Layer types of users: ``@register_layer("Gain", gain_param="1 factor float = 1")``."""

from __future__ import annotations

import re
from collections.abc import Callable

from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import L, layer_type_list, register, registered
from caffe_gp.errors import UsageError
from caffe_gp.proto import messages as pb
from caffe_gp.proto import own_fields


def register_layer(layer_type: str, **parameters: str) -> Callable[[L], L]:
    """Class decorator: make a class of your own the layer of a type (docs/layers_of_your_own.md).

        @register_layer("Gain", gain_param="1 factor float = 1; 2 per_channel bool = false")
        class Gain(caffe.Layer): ...

    layer_type   as a prototxt has it
    parameters   of its own: the field that prototxts have them in, and what fields these are, in the notation
                 of ``caffe_gp/proto/schema.py``. The layer finds them as ``self.param``. Without any it may
                 have ``python_param { param_str: "..." }``, which is ``self.param_str``.

    The class derives from ``caffe_gp.caffe.Layer``, as one for type "Python" does. Prototxts read from then
    on may have the field. Raises UsageError for a type or a field that is there already, for names that are
    none, and for fields that are not in the notation.
    """
    _check_type(layer_type)
    if len(parameters) > 1:
        raise UsageError(f"layer type '{layer_type}': one field has its parameters, not {len(parameters)}")
    for field in parameters:
        _check_field(layer_type, field)

    def add(cls: L) -> L:
        if not (isinstance(cls, type) and issubclass(cls, Layer)):
            raise UsageError(f"layer type '{layer_type}': {cls!r} does not derive from caffe_gp.caffe.Layer")
        if cls in registered().values():
            raise UsageError(f"layer type '{layer_type}': the class {cls.__qualname__} has a type already")
        _check_type(layer_type)
        for field, notation in parameters.items():
            try:
                own_fields.add(field, f"{layer_type}Parameter", notation)
            except ValueError as error:
                raise UsageError(
                    f"layer type '{layer_type}': {field} cannot have these fields: {error}. A field is "
                    "'number name type [= default]', fields are separated by ';' or new lines: "
                    "'1 factor float = 1; 2 axis int32 = 1'"
                ) from None
        cls.own_field = next(iter(parameters), "")
        return register(layer_type)(cls)

    return add


def _check_type(layer_type: str) -> None:
    if not isinstance(layer_type, str) or not re.fullmatch(r"[A-Za-z]\w*", layer_type, re.ASCII):
        raise UsageError(f"a layer type is a name, like 'Gain'; found {layer_type!r}")
    known = registered().get(layer_type)
    if known is not None and known.own_field is not None:
        raise UsageError(
            f"layer type '{layer_type}' is registered already, by {known.__qualname__}: give this one "
            "another name (a notebook's cell that registers a layer runs once; restart it to change "
            "the class)"
        )
    if layer_type in layer_type_list():
        raise UsageError(f"there is a layer type '{layer_type}' already: give your layer another name")


def _check_field(layer_type: str, field: str) -> None:
    where = f"layer type '{layer_type}'"
    if not re.fullmatch(r"[a-z]\w*_param", field, re.ASCII):
        raise UsageError(f"{where}: the field of its parameters is named like 'gain_param', not {field!r}")
    if field in pb.LayerParameter.DESCRIPTOR.fields_by_name:
        raise UsageError(
            f"{where}: layers have a field '{field}' already: take another name, or read that one, as "
            f"self.layer_param.{field}"
        )
    if field in own_fields.names():
        others = (one for one, its in registered().items() if its.own_field == field)
        other = next(others, "another")
        raise UsageError(f"{where}: the field '{field}' is layer type '{other}''s: take another name")
