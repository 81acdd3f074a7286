"""Batch normalisation while a net is trained, folded into its convolutions when it is used.

``conv_relu`` writes a convolution with BatchNorm + Scale behind it (training) or without (deployed); ``fold``
turns the weights of the first into those of the second, so deployed nets are plain convolutions.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from caffe_gp.errors import WeightsError
from caffe_gp.models.builder import Builder

EPS = 1e-5
STATISTICS = {"moving_average_fraction": 0.99, "eps": EPS}


def conv_relu(
    net: Builder,
    name: str,
    bottom: str,
    channels: int,
    kernel: int,
    *,
    training: bool,
    relu: str,
    stride: int = 1,
    dilation: int = 1,
) -> str:
    """A convolution that keeps the size (divided by ``stride``), batch normalisation in training, ReLU.

    An even kernel is for stride 2: then outputs lie between two pixels, as those of a 2x2 pooling do.
    Returns the top.
    """
    # In training the normalisation's beta is the bias.
    filler: dict[str, Any] = {"weight_filler": {"type": "msra"}} if training else {}
    pad = dilation * ((kernel - 1) // 2)
    net.conv(
        name,
        bottom,
        channels,
        kernel,
        stride=stride,
        pad=pad,
        dilation=dilation,
        bias=not training,
        param=(),
        **filler,
    )
    if training:
        net.add("BatchNorm", f"bn_{name}", [name], [name], batch_norm_param=STATISTICS)
        net.add("Scale", f"scale_{name}", [name], [name], scale_param={"bias_term": True})
    return net.relu(relu, name)


def fold(
    deploy: Any, params: Mapping[str, Sequence[np.ndarray]], normalised: Iterable[str]
) -> dict[str, list[np.ndarray]]:
    """Weights of a deployed net from those of its training net.

    deploy      NetParameter of the deployed net
    params      layer name -> float32 arrays, with the layers ``bn_X`` (mean, variance, their common factor)
                and ``scale_X`` (gamma, beta) for each X in ``normalised``
    normalised  names of the convolutions that were trained with normalisation
    With y = gamma * (W x - mean) / sqrt(variance + eps) + beta the folded weight is W * gamma / sqrt(...) and
    the bias beta - mean * gamma / sqrt(...). Computed in float64. Raises WeightsError if a layer is missing.
    """
    normalised = set(normalised)
    folded: dict[str, list[np.ndarray]] = {}
    for layer in deploy.layer:
        name = layer.name
        if layer.type not in ("Convolution", "Deconvolution"):
            continue
        needed = (name, f"bn_{name}", f"scale_{name}") if name in normalised else (name,)
        for part in needed:
            if part not in params:
                raise WeightsError(f"{deploy.name}: layer '{part}' is missing from the trained weights")
        arrays = [np.asarray(array, np.float64) for array in params[name]]
        if name in normalised:
            mean, variance, factor = (np.asarray(array, np.float64) for array in params[f"bn_{name}"])
            gamma, beta = (np.asarray(array, np.float64) for array in params[f"scale_{name}"])
            count = float(factor.reshape(-1)[0])
            if count <= 0:
                raise WeightsError(f"{deploy.name}: layer 'bn_{name}' has seen no batch: it was not trained")
            step = gamma / np.sqrt(variance / count + EPS)
            arrays = [arrays[0] * step[:, None, None, None], beta - mean / count * step]
        folded[name] = [np.ascontiguousarray(array, np.float32) for array in arrays]
    return folded
