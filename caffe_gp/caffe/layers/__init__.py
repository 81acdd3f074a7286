"""The layer families, one module each; importing this package imports them all and so fills the registry."""

import importlib
import pkgutil

from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.own import register_layer
from caffe_gp.caffe.layers.registry import (
    check_forks_fields,
    check_layer_types,
    create_layer,
    layer_type_list,
    own_parameters,
)

__all__ = [
    "Layer", "check_forks_fields", "check_layer_types", "create_layer", "layer_type_list", "own_parameters",
    "register_layer",
]  # fmt: skip

for _module in pkgutil.iter_modules(__path__, __name__ + "."):
    importlib.import_module(_module.name)
