"""Whether the weights of a file fit a net, and what to do where they do not.

Caffe skips a layer of the file that the net lacks, keeps the fillers of a layer that the file lacks, both
without a word, and aborts on a wrong shape.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Iterable, Mapping, Optional, Sequence, Tuple

import numpy as np

from caffe_gp import proto
from caffe_gp.errors import WeightsError, did_you_mean
from caffe_gp.proto.batch_norm import BLOBS, STATISTICS
from caffe_gp.surgery.param_shapes import shared_layers
from caffe_gp.surgery.prepare import Prepared

Shapes = Sequence[Optional[Tuple[int, ...]]]


def set_channels(prepared: Prepared, stored: Sequence[tuple[str, list[Any]]]) -> None:
    """Give an Input layer that replaces a data layer the channels that the first convolution's weights have.

    stored   of ``stored_blobs``. A data layer does not tell grey from colour.
    """
    readers = [layer for layer in prepared.net.layer if prepared.data in layer.bottom]
    groups = {layer.name: layer.convolution_param.group for layer in readers if layer.type == "Convolution"}
    shape = prepared.input_shape
    for name, blobs in stored:
        if name in groups and blobs and blobs[0] is not None and len(blobs[0].shape) == 4:
            channels = blobs[0].shape[1] * groups[name]
            if channels != shape.dim[1]:
                prepared.changes.append(
                    f"input '{prepared.data}' has {channels} channel(s), as layer '{name}' reads"
                )
                shape.dim[1] = channels
            return


def check_weights(path: str, params: Mapping[str, Any], prepared: Prepared, allow_missing: bool) -> list[str]:
    """Sentences about layers of a built net that the file lacks; WeightsError where they, or a shape, matter.

    params          the net's parameter blobs by layer name, the probe's too
    allow_missing   keep the fillers' values of any layer that the file lacks
    """
    stored = _by_layer(stored_blobs(path), prepared.parts)
    types = {layer.name: layer for layer in prepared.net.layer}
    for name, blobs in stored.items():
        if name in params:
            _check_shapes(f"{path}: layer '{name}'", types[name].type, blobs, params[name])
    missing = [name for name in params if name not in stored and name != prepared.probe]
    if len(missing) == len(params) - (prepared.probe in params) and missing:
        raise WeightsError(
            f"{path}: no layer in this file has the name of a layer of the net "
            f"({', '.join(missing[:5])}, ...): these are another net's weights"
        )
    shared = shared_layers(prepared.net)
    lacking = [name for name in missing if name not in shared and not _is_harmless(types[name])]
    if lacking and not allow_missing:
        _refuse_missing(path, lacking, types, list(stored), prepared)
    kept = [name for name in missing if name not in shared]
    return [f"no weights in the file for {', '.join(kept)}: left as their fillers made them"] if kept else []


def _by_layer(stored: Iterable[tuple[str, list[Any]]], parts: Mapping[str, str]) -> dict[str, list[Any]]:
    """The blobs of a file by the prepared net's layers; those of one that was split, to each its own."""
    found = {name: blobs for name, blobs in stored if blobs}
    for part, whole in parts.items():
        if len(found.get(whole, ())) == BLOBS:
            found[part], found[whole] = found[whole][STATISTICS:], found[whole][:STATISTICS]
    return found


def copy_weights(net: Any, path: str, engine: str, parts: Mapping[str, str] = MappingProxyType({})) -> None:
    """Load the weights of a file into an engine's net.

    parts   of ``Prepared``
    Blob by blob where stock BVLC Caffe does not: from files with raw values, as NVIDIA Caffe and OpenCV write
    them, and into layers that were split. Raises WeightsError.
    """
    if engine != "bvlc" or not (parts or has_raw_values(path)):
        net.copy_from(path)
        return
    with proto.read_weights(path) as weights:
        for name, blobs in _by_layer(weights, parts).items():
            if name in net.params:
                _copy_blobs(f"{path}: layer '{name}'", blobs, net.params[name])


def has_raw_values(path: str) -> bool:
    """Whether a file of weights holds values that stock BVLC Caffe does not read. Raises WeightsError."""
    with proto.read_weights(path) as weights:
        return any(blob is not None and blob.raw for _, blobs in weights for blob in blobs)


def _copy_blobs(where: str, blobs: Sequence[Any], params: Sequence[Any]) -> None:
    if len(blobs) != len(params):
        raise WeightsError(f"{where} has {len(blobs)} blobs, the net expects {len(params)}")
    for i, blob in enumerate(blobs):
        data = params[i].data
        if blob is None:  # a shared blob, whose values are with its owner
            continue
        if not blob.fits(tuple(data.shape)):
            raise WeightsError(f"{where}: blob {i} has shape {blob.shape}, the net expects {data.shape}")
        blob.copy_to(data)


def never_filled(params: Mapping[str, Any], prepared: Prepared) -> list[str]:
    """Sentences about BatchNorm layers of a loaded net whose statistics were never computed."""
    names = [layer.name for layer in prepared.net.layer if layer.type == "BatchNorm" and layer.name in params]
    empty = [name for name in names if not np.any(params[name][2].data)]
    return [
        f"layer '{name}' (BatchNorm): its statistics were never computed (scale factor 0 in the file), "
        "so mean and variance count as 0: are these the weights of a trained net?"
        for name in empty
    ]


def _is_harmless(layer: Any) -> bool:
    """Whether a layer's filler makes what a trained net has: bilinear upsampling, or the probe."""
    if layer.type == "Bias":  # of a net that was prepared before
        return layer.name.startswith(("probe", "gp_probe")) and layer.bottom == layer.top
    param = layer.convolution_param
    # With one group Caffe's filler lets every channel read all of them.
    alone = param.group == param.num_output
    return layer.type == "Deconvolution" and param.weight_filler.type == "bilinear" and alone


def _refuse_missing(
    path: str, lacking: Sequence[str], layers: Mapping[str, Any], held: Sequence[str], prepared: Prepared
) -> None:
    near = []
    for name in lacking[:8]:
        hint = did_you_mean(name, held).replace("did you mean", "in the file:").rstrip("?")
        near.append(f"'{name}' ({layers[name].type}{hint})")
    more = f" and {len(lacking) - len(near)} more" if len(lacking) > len(near) else ""
    enlarging = ""
    if any(layers[name].type == "Deconvolution" for name in lacking):
        enlarging = (
            "; a Deconvolution that enlarges each channel on its own may have group: C, "
            'weight_filler { type: "bilinear" }'
        )
    raise WeightsError(
        f"{path}: no weights for layer(s) {', '.join(near)}{more}, which '{prepared.score}' is computed "
        "with; they would keep random or constant values. Name the layers as in the file, or take this net's "
        f"own weights{enlarging}; --allow-missing-weights (in Python: allow_missing_weights=True) keeps the "
        "fillers' values"
    )


def _check_shapes(where: str, kind: str, blobs: Sequence[Any], params: Sequence[Any]) -> None:
    expected = [tuple(blob.shape) for blob in params]
    shapes: Shapes = [None if blob is None else tuple(blob.shape) for blob in blobs]
    # None: a shared blob, whose values are with its owner.
    fits = len(shapes) == len(expected) and all(
        blob is None or blob.fits(shape) for blob, shape in zip(blobs, expected)
    )
    if not fits:
        what_to_do = _what_to_do(kind, shapes, expected)
        raise WeightsError(f"{where} has blobs of shapes {shapes}, the net expects {expected}{what_to_do}")


def _what_to_do(kind: str, found: Shapes, expected: Sequence[tuple[int, ...]]) -> str:
    field = {"InnerProduct": "inner_product_param", "Scale": "scale_param", "Embed": "embed_param"}.get(
        kind, "convolution_param"
    )
    if kind == "BatchNorm" and len(found) == BLOBS and len(expected) == STATISTICS:
        return (
            ": mean, variance, correction, scale and bias, as NVIDIA Caffe's BatchNorm has them: write "
            "scale_bias: true in the layer's batch_norm_param"
        )
    if kind == "BatchNorm" and len(found) == STATISTICS and len(expected) == BLOBS:
        return (
            ": BVLC Caffe's BatchNorm, without the scale and bias that the layer's batch_norm_param asks for "
            "(scale_bias, scale_filler or bias_filler): remove these, or take the weights of this net"
        )
    if kind == "BatchNorm" and len(found) != len(expected):
        return ": a BatchNorm of another Caffe, which keeps more than mean, variance and scale factor"
    if kind == "BN" and (len(found), len(expected)) == (4, 2):
        return ": slope, bias, mean and variance, as PSPNet's BN has them: write bn_param { frozen: true }"
    if kind == "BN" and (len(found), len(expected)) == (2, 4):
        return ": scale and shift alone, as SegNet's BN has them: write bn_param { bn_mode: INFERENCE }"
    if len(found) == len(expected) - 1:
        return f": the file has no bias; write bias_term: false in the layer's {field}"
    if len(found) == len(expected) + 1:
        return (
            f": the file has one blob more, such as a bias; if the layer's {field} has bias_term: false, "
            "remove it, else take the prototxt that belongs to these weights"
        )
    if len(found) != len(expected):
        return ": take the prototxt that belongs to these weights"
    return _about_shapes(kind, found[0], expected[0])


def _about_shapes(kind: str, found: tuple[int, ...] | None, expected: tuple[int, ...]) -> str:
    if found is None:
        return ""
    same_count = np.prod(found) == np.prod(expected)
    if same_count and kind == "Convolution" and len(found) == 2:
        return (
            ": an InnerProduct's weights for a Convolution, the same number of values. Make the layer an "
            "InnerProduct, or copy the values once in Python: conv.params[name][0].data.flat = "
            "fc.params[name][0].data.flat, then conv.save(FILE)"
        )
    if same_count and kind == "InnerProduct" and len(found) == 4:
        return (
            ": a Convolution's weights for an InnerProduct, the same number of values. Make it a Convolution"
        )
    if found[1:] == expected[1:]:
        return f": num_output is {found[0]} in the file, {expected[0]} in the net"
    if kind == "InnerProduct":
        return ": images of another size or another number of features come in; the net's input size decides"
    return (
        ": another kernel_size, group or number of channels; take the prototxt that belongs to these weights"
    )


def stored_blobs(path: str) -> list[tuple[str, list[Any]]]:
    """Layer names and blobs of a weights file, of which only the shapes may be used: the file is closed."""
    with proto.read_weights(path) as weights:
        return list(weights)
