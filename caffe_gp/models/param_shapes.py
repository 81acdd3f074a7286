"""The parameter blobs that a net expects, from its description alone: nothing is allocated.

Enough for the nets whose weights were released: what every layer's blobs look like follows there from its own
fields and the number of channels that reach it.
"""

from __future__ import annotations

from typing import Any

from caffe_gp.errors import NetError

# Layers without parameters whose tops have as many channels as their first bottom.
_SAME_CHANNELS = {"Crop", "Dropout", "Eltwise", "Interp", "LRN", "Pooling", "ReLU", "Softmax", "Split"}


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
                channels[top] = shape.dim[1]
            continue
        if not layer.bottom or layer.bottom[0] not in channels:
            raise NetError(f"net '{net.name}', layer '{layer.name}': its input is not known")
        found = channels[layer.bottom[0]]
        blobs, out = _layer(layer, found)
        for top in layer.top:
            channels[top] = out
        if blobs:
            shapes[layer.name] = blobs
    return shapes


def _layer(layer: Any, channels: int) -> tuple[list[tuple[int, ...]], int]:
    """(parameter shapes, channels of the tops) of a layer whose first bottom has ``channels``."""
    if layer.type in ("Convolution", "Deconvolution"):
        return _convolution(layer, channels)
    if layer.type == "BatchNorm":
        return [(channels,), (channels,), (1,)], channels
    if layer.type == "Scale":
        return [(channels,)] * (2 if layer.scale_param.bias_term else 1), channels
    if layer.type == "MultiStageMeanfield":
        return [(1, 1, channels, channels)] * 3, channels
    if layer.type in _SAME_CHANNELS:
        return [], channels
    raise NetError(f"layer '{layer.name}': the parameters of {layer.type} do not follow from channels")


def _convolution(layer: Any, channels: int) -> tuple[list[tuple[int, ...]], int]:
    param = layer.convolution_param
    if param.kernel_size:
        kernel = (param.kernel_size[0], param.kernel_size[-1])
    else:
        kernel = (param.kernel_h, param.kernel_w)
    outer, inner = param.num_output, channels
    if layer.type == "Deconvolution":
        outer, inner = inner, outer
    blobs: list[tuple[int, ...]] = [(outer, inner // param.group, *kernel)]
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
