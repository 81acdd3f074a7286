"""The parameter blobs that a net expects, from its description alone, and whether a weight file has them.

Enough for the nets whose weights were released: what every layer's blobs look like follows there from its own
fields and the number of channels that reach it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from caffe_gp.errors import NetError, WeightsError
from caffe_gp.proto import read_weights
from caffe_gp.proto.batch_norm import has_scale_and_bias
from caffe_gp.surgery.layers import DEPTHWISE, blob_count

# Layers without parameters whose tops have as many channels as their first bottom.
_SAME_CHANNELS = {
    *("Axpy", "Clip", "Crop", "Dropout", "Eltwise", "Interp", "LRN", "Mish", "Pooling", "ReLU", "ReLU6"),
    *("ROIPooling", "ShuffleChannel", "Softmax", "Split", "UnPooling", "Unpooling", "Upsample"),
}


def param_shapes(net: Any) -> dict[str, list[tuple[int, ...]]]:
    """Shapes of the parameter blobs by layer name, in the order of the net; layers without any are left out.

    ``net`` is a V2 NetParameter that starts with Input layers. Raises NetError for a kind of layer, or an
    input, that this cannot follow.
    """
    channels: dict[str, int] = {}
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for layer in net.layer:
        if layer.type == "Input":
            for top, shape in zip(layer.top, layer.input_param.shape):
                if len(shape.dim) > 1:  # of others it is not known what the channels are
                    channels[top] = shape.dim[1]
            continue
        if not layer.bottom or layer.bottom[0] not in channels:
            raise NetError(f"net '{net.name}', layer '{layer.name}': its input is not known")
        blobs, out = _layer(layer, [channels.get(bottom, 0) for bottom in layer.bottom])
        for top in layer.top:
            channels[top] = out
        if blobs:
            shapes[layer.name] = blobs
    return shapes


def _layer(layer: Any, bottoms: list[int]) -> tuple[list[tuple[int, ...]], int]:
    """(parameter shapes, channels of the tops) of a layer whose bottoms have so many channels."""
    channels = bottoms[0]
    if layer.type in ("Convolution", "Deconvolution", *DEPTHWISE):
        return _convolution(layer, channels)
    if layer.type == "BN":
        return [(1, channels, 1, 1)] * blob_count(layer), channels
    if layer.type == "BatchNorm":
        of_its_own = [(channels,)] * 2 if has_scale_and_bias(layer.batch_norm_param) else []
        return [(channels,), (channels,), (1,), *of_its_own], channels
    if layer.type == "Scale":
        return [(channels,)] * (2 if layer.scale_param.bias_term else 1), channels
    if layer.type == "Normalize":
        return [() if layer.norm_param.channel_shared else (channels,)], channels
    if layer.type == "PSROIPooling":
        return [], layer.psroi_pooling_param.output_dim
    if layer.type == "MultiStageMeanfield":
        return [(1, 1, channels, channels)] * 3, channels
    if layer.type in _SAME_CHANNELS or layer.type == "Tile" and layer.tile_param.axis != 1:
        return [], channels
    if layer.type == "Concat" and layer.concat_param.axis == 1 and all(bottoms):
        return [], sum(bottoms)
    raise NetError(f"layer '{layer.name}': the parameters of {layer.type} do not follow from channels")


def _convolution(layer: Any, channels: int) -> tuple[list[tuple[int, ...]], int]:
    param = layer.convolution_param
    if param.kernel_size:
        kernel = (param.kernel_size[0], param.kernel_size[-1])
    else:
        kernel = (param.kernel_h, param.kernel_w)
    group = channels if layer.type in DEPTHWISE else param.group
    if group < 1:
        raise NetError(f"layer '{layer.name}': convolution_param.group must be at least 1, found {group}")
    outer, inner = param.num_output, channels
    if layer.type == "Deconvolution":
        outer, inner = inner, outer
    blobs: list[tuple[int, ...]] = [(outer, inner // group, *kernel)]
    if param.bias_term:
        blobs.append((param.num_output,))
    return blobs, param.num_output


def shared_layers(net: Any) -> set[str]:
    """Names of the layers all of whose parameters belong to earlier layers, by parameter name."""
    owned: set[str] = set()
    shared = set()
    for layer in net.layer:
        names = [spec.name for spec in layer.param]
        if names and all(name and name in owned for name in names):
            shared.add(layer.name)
        owned.update(filter(None, names))
    return shared


def check_layers(path: Path, nets: Sequence[Any]) -> None:
    """Raise WeightsError unless the weight file has every parameter blob of every net, in its shape.

    Further layers do not matter, nor does a missing copy of parameters that belong to an earlier layer.
    Only the file's structure is read, not its values.
    """
    with read_weights(path) as weights:
        found: dict[str, list] = {name: blobs for name, blobs in weights if blobs}
    for net in nets:
        shared = shared_layers(net)
        for name, shapes in param_shapes(net).items():
            if name in found:
                _compare(found[name], shapes, f"{path}: layer '{name}'", net.name)
            elif name not in shared:
                held = ", ".join(list(found)[:40])
                raise WeightsError(
                    f"{path}: layer '{name}' of {net.name} is missing; expected {_text(shapes)}. The layers "
                    f"with parameters in the file: {held or 'none'}"
                )


def _compare(blobs: list, shapes: list[tuple[int, ...]], where: str, net: str) -> None:
    if len(blobs) != len(shapes) or not all(
        blob is not None and blob.fits(shape) for blob, shape in zip(blobs, shapes)
    ):
        has = _text([() if blob is None else blob.shape for blob in blobs])
        raise WeightsError(f"{where} has {has}; {net} expects {_text(shapes)}")


def _text(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) or "a scalar" for shape in shapes)
