"""Batch normalisation while a net is trained, folded into its convolutions when it is used.

``conv_relu`` writes a convolution with BatchNorm + Scale behind it (training) or without (deployed); ``fold``
turns the weights of the first into those of the second, so deployed nets are plain convolutions. ``unfold``
is the way back, for what works on the normalisation itself (BN statistics of the test image, TENT).
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
    normalised: bool = False,
) -> str:
    """A convolution that keeps the size (divided by ``stride``), batch normalisation in training, ReLU.

    normalised   batch normalisation in the deployed net, too
    An even kernel is for stride 2: then outputs lie between two pixels, as those of a 2x2 pooling do.
    Returns the top.
    """
    # In training the normalisation's beta is the bias.
    filler: dict[str, Any] = {"weight_filler": {"type": "msra"}} if training else {}
    normalised = normalised or training
    pad = dilation * ((kernel - 1) // 2)
    net.conv(
        name,
        bottom,
        channels,
        kernel,
        stride=stride,
        pad=pad,
        dilation=dilation,
        bias=not normalised,
        param=(),
        **filler,
    )
    if normalised:
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


def unfold(
    params: Mapping[str, Sequence[np.ndarray]], statistics: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, list[np.ndarray]]:
    """Weights of a net with batch normalisation from those of the same net without: ``fold``'s inverse.

    params       layer name -> float32 arrays, of the net of plain convolutions
    statistics   convolution -> mean and variance (C,) of its output without the bias, over training images
    The layers ``bn_X`` get the statistics, ``scale_X`` gamma = sqrt(variance + eps) and beta = bias + mean,
    so that on global statistics both nets compute the same. But for the sign of gamma, and for moving
    averages in the place of these statistics, that is the net as it was trained, before it was folded.
    Computed in float64.
    """
    found = {name: [np.asarray(array, np.float32) for array in arrays] for name, arrays in params.items()}
    for name, (mean, variance) in statistics.items():
        weight, bias = params[name]
        gamma, beta = np.sqrt(variance.astype(np.float64) + EPS), bias.astype(np.float64) + mean
        made = {
            name: [weight],
            f"bn_{name}": [mean, variance, np.ones(1)],
            f"scale_{name}": [gamma, beta],
        }
        found.update(
            {layer: [np.asarray(array, np.float32) for array in arrays] for layer, arrays in made.items()}
        )
    return found
