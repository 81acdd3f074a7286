"""The layer families; importing this package fills the registry."""
from caffe_gp.caffe.layers import (  # noqa: F401
    accuracy,
    eltwise,
    loss,
    neuron,
    normalization,
    routing,
)
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import check_layer_types, create_layer, layer_type_list

__all__ = ["Layer", "check_layer_types", "create_layer", "layer_type_list"]
