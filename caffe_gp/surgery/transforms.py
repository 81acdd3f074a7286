"""What a data layer of the prototxt does to its images before the net sees them."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from caffe_gp.proto import forks

_MOST_WORDS = 10_000  # characters of a param_str; published ones have some 200


class Transform(NamedTuple):
    """x = (pixel - mean) * scale, as ``transform_param`` says it.

    mean       values of the channels, blue first, or one for all; () is none
    mean_file  path of a mean image, as the prototxt has it, or ''
    scale      factor after the subtraction
    source     the data layer, for messages
    left_out   what else it does, in training, and is not done here
    """

    mean: tuple[float, ...]
    mean_file: str
    scale: float
    source: str
    left_out: str = ""


def transform_of(layer: Any) -> Transform | None:
    """The transform of a data layer; None where it does not say one."""
    if layer is None:
        return None
    source = f"data layer '{layer.name}'"
    if layer.type == "Python":
        mean = _mean_in_words(layer.python_param.param_str)
        return Transform(mean, "", 1.0, source) if mean else None
    param, mean_file = layer.transform_param, layer.dense_image_data_param.mean_file
    if not layer.HasField("transform_param") and not mean_file:
        return None
    mean_file = param.mean_file or mean_file
    left_out = ["mirror"] * param.mirror + [f"crop_size {param.crop_size}"] * bool(param.crop_size)
    left_out += [name.split(".")[1] for name in forks.unheeded(layer) if name.startswith("transform_param.")]
    means = tuple(map(_decimals, param.mean_value))
    return Transform(means, mean_file, _decimals(param.scale), source, " and ".join(left_out))


def _decimals(value: float) -> float:
    """A float32 as it was written: 104.00699 and not 104.00698852539062."""
    return float(f"{value:.7g}")


def _mean_in_words(text: str) -> tuple[float, ...]:
    """'mean' of a Python data layer's param_str, as FCN's and its descendants' have it; () without one."""
    if len(text) > _MOST_WORDS:
        return ()
    try:
        mean = ast.literal_eval(text)["mean"]
        return tuple(float(value) for value in mean)
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, MemoryError, RecursionError):
        return ()
