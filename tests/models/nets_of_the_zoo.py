"""Nets of the zoo in the embedded Caffe, for tests of their shapes."""

from __future__ import annotations

from typing import Any

import pytest

from caffe_gp.models import zoo
from caffe_gp.proto import messages as pb

caffe = pytest.importorskip("caffe_gp.caffe")


def load(param: pb.NetParameter, height: int | None = None, width: int | None = None) -> Any:
    """The net of a NetParameter in the TEST phase, for images of ``height`` x ``width``."""
    if height is not None:
        shape = param.layer[0].input_param.shape[0]
        shape.dim[2], shape.dim[3] = height, width
    return caffe.Net.from_param(param, caffe.TEST, source=param.name)


def narrow(name: str, channels: int = 4) -> pb.NetParameter:
    """The NetParameter of a model with ``channels`` in every convolution: the same layers, few weights."""
    param = zoo.get(name).net()
    for layer in param.layer:
        if layer.type in ("Convolution", "Deconvolution"):
            layer.convolution_param.num_output = channels
    return param


def reshape(net: Any, height: int, width: int) -> None:
    """Give the input another size, and everything after it."""
    net.blobs["data"].reshape(1, net.blobs["data"].shape[1], height, width)
    net.reshape()


def sizes(net: Any, *blobs: str) -> list[int]:
    """Heights of blobs, which must be as wide as high."""
    for blob in blobs:
        assert net.blobs[blob].shape[2] == net.blobs[blob].shape[3], blob
    return [net.blobs[blob].shape[2] for blob in blobs]
