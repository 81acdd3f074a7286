"""Small things that every part of the surgery asks of a layer or of the names in a net."""

from __future__ import annotations

from itertools import chain, count
from typing import Any, Container, Iterable

from caffe_gp.errors import NetError
from caffe_gp.proto.batch_norm import BLOBS, has_scale_and_bias
from caffe_gp.proto.bn import keeps_statistics

#: Convolutions with one group for each channel, by the names that forks gave them.
DEPTHWISE = ("DepthwiseConvolution", "ConvolutionDepthwise")


def blob_count(layer: Any) -> int:
    """How many parameter blobs a layer has, told from its description; 0 for types without (or unknown)."""
    own_bottom = (
        1 if len(layer.bottom) < 2 else 0
    )  # Scale and Bias may read their factor from a second bottom
    if layer.type in ("Convolution", "Deconvolution", *DEPTHWISE):
        return 1 + layer.convolution_param.bias_term
    if layer.type == "BatchNorm" and has_scale_and_bias(layer.batch_norm_param):
        return BLOBS
    if layer.type == "InnerProduct":
        return 1 + layer.inner_product_param.bias_term
    if layer.type == "Embed":
        return 1 + layer.embed_param.bias_term
    if layer.type == "Scale":
        return own_bottom + layer.scale_param.bias_term
    if layer.type == "Bias":
        return own_bottom
    if layer.type == "BN":
        return 4 if bn_keeps_statistics(layer) else 2
    fixed = {
        **{"BatchNorm": 3, "PReLU": 1, "Parameter": 1, "LSTM": 3, "RNN": 5, "MultiStageMeanfield": 3},
        "Normalize": 1,
    }
    count = fixed.get(layer.type, len(layer.param))
    return count + 1 if layer.type in ("LSTM", "RNN") and len(layer.bottom) > 2 else count


def bn_keeps_statistics(layer: Any) -> bool:
    """Whether a BN is of PSPNet's kind. NetError where that cannot be told."""
    try:
        return keeps_statistics(layer)
    except ValueError as error:
        raise NetError(f"layer '{layer.name}' (BN): {error}") from None


def names_of(layers: Iterable[Any]) -> set[str]:
    """The names of layers and of the blobs that they make."""
    return {name for layer in layers for name in (layer.name, *layer.top)}


def free_name(taken: Container[str], wanted: str) -> str:
    """``wanted``, or it with a prefix and number if that is taken."""
    names = chain([wanted, f"gp_{wanted}"], (f"gp_{wanted}_{i}" for i in count(2)))
    return next(name for name in names if name not in taken)


def by(shape: Iterable[int | None]) -> str:
    """A shape in words: 1 x 3 x 500 x 500."""
    return " x ".join("?" if n is None else str(n) for n in shape)


def listed(names: Iterable[str], most: int = 12) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
