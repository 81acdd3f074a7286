"""The same net on the embedded Caffe and on OpenCV 4's dnn module.

A case in a test takes the fixture ``opencv`` (conftest.py) and a line:

    agrees(opencv, 'type: "Permute" permute_param { order: 0 order: 2 }', RNG.randn(2, 3, 4))

Nets of several layers go through ``both``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

import caffe_gp.caffe as caffe
from caffe_gp import proto
from conformance.opencv import OpenCV, OpenCVError

__all__ = ["OpenCV", "OpenCVError", "agrees", "both", "close", "net_of", "net_with"]


def net_of(layer: str, shapes: Sequence[Sequence[int]], tops: int = 1) -> str:
    """Prototxt of Input layers ``x0``, ``x1``, ... and one layer, ``layer``, on them."""
    text = ""
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    blobs = [f'bottom: "x{i}"' for i in range(len(shapes))] + [f'top: "y{i}"' for i in range(tops)]
    return f'{text}layer {{ name: "layer" {" ".join(blobs)} {layer} }}'


def both(
    opencv: OpenCV,
    prototxt: str,
    inputs: Mapping[str, Any],
    layers: Sequence[str],
    params: Mapping[str, Sequence[Any]] | None = None,
    caffemodel: Path | None = None,
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """(ours, OpenCV's) of every top of these ``layers``.

    params       values of parameters, by layer
    caffemodel   or a file that has them
    """
    net = net_with(prototxt, params or {}, caffemodel)
    for name, array in inputs.items():
        net.blobs[name].data[...] = array
    net.forward()
    if params:
        caffemodel = opencv.new_path("weights.caffemodel")
        net.save(str(caffemodel))
    theirs = opencv.forward(prototxt, inputs, layers, caffemodel)
    return {
        name: [(net.blobs[top].data.copy(), array) for top, array in zip(net.top_names[name], theirs[name])]
        for name in layers
    }


def net_with(prototxt: str, params: Mapping[str, Sequence[Any]], caffemodel: Path | None = None) -> Any:
    """The embedded Caffe's net of a prototxt's text, with these parameters."""
    net = caffe.Net.from_param(proto.parse_net_param(prototxt), caffe.TEST)
    if caffemodel is not None:
        net.copy_from(str(caffemodel))
    for name, arrays in params.items():
        for blob, array in zip(net.params[name], arrays):
            blob.data[...] = array
    return net


def agrees(
    opencv: OpenCV,
    layer: str,
    *inputs: Any,
    tolerance: float = 0.0,
    params: Sequence[Any] = (),
    tops: int = 1,
) -> list[np.ndarray]:
    """Assert that a layer's tops are OpenCV's, up to ``tolerance`` times the largest value; the tops."""
    pairs = both(
        opencv,
        net_of(layer, [np.shape(array) for array in inputs], tops),
        {f"x{i}": array for i, array in enumerate(inputs)},
        ["layer"],
        {"layer": params} if params else None,
    )["layer"]
    assert len(pairs) == tops
    for ours, theirs in pairs:
        close(ours, theirs, tolerance)
    return [ours for ours, _ in pairs]


def close(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 0.0) -> None:
    """Assert equal shapes, and values up to ``tolerance`` times the largest."""
    assert ours.shape == theirs.shape
    if ours.size:
        assert np.isfinite(ours).all()
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()
