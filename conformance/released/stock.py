"""Rewrites of nets that use layers of the forks, so that stock BVLC Caffe can run them and be compared with.

Test material: the embedded Caffe runs the files as they are. Each replacement computes the same function:

    DepthwiseConvolution   Convolution with the same parameters (it is that, only faster on a GPU)
    BN, bn_mode INFERENCE  Scale with a bias term; blobs (1, C, 1, 1) become (C,)
    Upsample               a ``type: "Python"`` layer, ``UnpoolLayer`` below
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from caffe_gp import proto
from caffe_gp.proto import messages as pb

try:
    from caffe import Layer
except ImportError:  # BVLC Caffe is not here
    from caffe_gp.caffe import Layer


REPLACED = ("DepthwiseConvolution", "BN", "Upsample")


class UnpoolLayer(Layer):
    """Bottoms: values and the places h * W + w where they stood before MAX pooling; twice their size."""

    def setup(self, bottom: Any, top: Any) -> None:
        """Nothing to read."""

    def reshape(self, bottom: Any, top: Any) -> None:
        """(N, C, 2 H, 2 W)."""
        n, c, h, w = bottom[0].data.shape
        top[0].reshape(n, c, 2 * h, 2 * w)

    def forward(self, bottom: Any, top: Any) -> None:
        """Scatter; everything else is zero."""
        out = np.zeros_like(top[0].data).reshape(len(self._rows(bottom)), -1)
        np.put_along_axis(out, self._rows(bottom), bottom[0].data.reshape(len(out), -1), 1)
        top[0].data[...] = out.reshape(top[0].data.shape)

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        """Gather; the places have no gradient."""
        rows = self._rows(bottom)
        diff = np.take_along_axis(top[0].diff.reshape(len(rows), -1), rows, 1)
        bottom[0].diff[...] = diff.reshape(bottom[0].data.shape)

    @staticmethod
    def _rows(bottom: Any) -> np.ndarray:
        n, c, h, w = bottom[1].data.shape
        return bottom[1].data.reshape(n * c, h * w).astype(np.int64)


def rewrite(prototxt: str, caffemodel: str, folder: str) -> tuple[str, str, list[str]]:
    """Stock copies of a net and its weights in ``folder``; also returns the types that were replaced."""
    net = proto.read_net_param(prototxt)
    with proto.read_weights(caffemodel) as weights:
        # Released files keep no layer's blob in another layer, so none is None.
        arrays = {
            name: [blob for blob in blobs if blob is not None] for name, blobs in weights.as_dict().items()
        }
    replaced = []
    for layer in net.layer:
        kind = layer.type
        if _make_stock(layer):
            replaced.append(kind)
        if layer.name in arrays:  # files of old Caffes hold four axes for everything
            keep = layer.type in ("Convolution", "Deconvolution")
            blobs = arrays[layer.name]
            arrays[layer.name] = [
                blob if keep and not i else blob.reshape(-1) for i, blob in enumerate(blobs)
            ]
    names = {layer.name for layer in net.layer}
    paths = os.path.join(folder, "stock.prototxt"), os.path.join(folder, "stock.caffemodel")
    with open(paths[0], "w", encoding="utf-8") as file:
        file.write(proto.to_text(net))
    proto.write_caffemodel(paths[1], net, {name: blobs for name, blobs in arrays.items() if name in names})
    return paths[0], paths[1], sorted(set(replaced))


def _make_stock(layer: Any) -> bool:
    """Replace a fork's layer in place; whether it was one."""
    if layer.type == "DepthwiseConvolution":
        layer.type = "Convolution"
    elif layer.type == "BN":
        if layer.bn_param.bn_mode != pb.BNParameter.INFERENCE:
            raise ValueError(f"layer '{layer.name}': BN that keeps statistics has no stock counterpart here")
        layer.ClearField("bn_param")
        layer.type, layer.scale_param.bias_term = "Scale", True
    elif layer.type == "Upsample":
        layer.ClearField("upsample_param")
        layer.type = "Python"
        layer.python_param.module, layer.python_param.layer = __name__, "UnpoolLayer"
    else:
        return False
    return True
