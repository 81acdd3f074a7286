"""What a net is fed: an Input layer for the images, in place of whatever data layer the file has."""

from __future__ import annotations

from typing import Any, Sequence

from caffe_gp.errors import NetError
from caffe_gp.proto import messages as pb
from caffe_gp.surgery.layers import by, free_name

DEFAULT_INPUT_SHAPE = (1, 3, 500, 500)


def add_input(
    net: Any, unfiltered: Any, shape: Sequence[int | None] | None, changes: list[str]
) -> tuple[str, bool]:
    """Make an Input layer bring the images; returns the image blob and whether its channels are a guess."""
    read = {bottom for layer in net.layer for bottom in layer.bottom}
    for layer in net.layer:
        if layer.type == "Input":
            _keep_tops(layer, read)
    sources = _image_sources(net, unfiltered, read)
    if not sources:
        layer = next((layer for layer in net.layer if layer.type == "Input" and len(layer.top)), None)
        if layer is None:
            raise NetError(f"net '{net.name}' has no data or Input layer that the scores depend on")
        own = tuple(layer.input_param.shape[0].dim)
        dims = _merged(own, shape)
        if dims != own:
            layer.input_param.shape[0].ClearField("dim")
            layer.input_param.shape[0].dim.extend(dims)
            changes.append(f"input '{layer.top[0]}' reshaped to {by(dims)}")
        return layer.top[0], False
    if len(sources) > 1:
        found = ", ".join(f"'{top}' of layer '{layer.name}'" for layer, top in sources)
        users = [f"'{layer.name}'" for layer in net.layer if sources[-1][1] in layer.bottom]
        raise NetError(
            f"the scores need {len(sources)} blobs of data layers: {found} (read by layer {users[0]}); a net "
            "for GP has one input, the image: give score= a blob that needs nothing else"
        )
    source, top = sources[0]
    known = _merged(data_shape(source), shape)
    fixed = [layer.name for layer in net.layer if layer.type == "InnerProduct"]
    if fixed and None in known[2:]:
        raise NetError(
            f"layer '{fixed[0]}' (InnerProduct) needs images of one size, which data layer '{source.name}' "
            f"({source.type}) does not tell: give input_shape=(None, None, H, W) (caffe_gp run: --resize W,H)"
        )
    dims = tuple(default if n is None else n for n, default in zip(known, DEFAULT_INPUT_SHAPE))
    if source.type == "Input":
        changes.append(f"took Input '{top}' of shape {by(dims)} from layer '{source.name}' of another state")
    else:
        changes.append(
            f"replaced data layer '{source.name}' ({source.type}) by Input '{top}' of shape {by(dims)}"
        )
    others = [layer for layer in net.layer if top not in layer.top or layer.bottom]
    del net.layer[:]
    net.layer.add(name=free_name(others, "input"), type="Input", top=[top]).input_param.shape.add(dim=dims)
    net.layer.extend(others)
    return top, known[1] is None


def _merged(own: Sequence[int | None], wanted: Sequence[int | None] | None) -> tuple[int | None, ...]:
    """``wanted`` with its gaps (None) filled from ``own``."""
    if wanted is None:
        return tuple(own)
    if len(wanted) != len(own) and None in wanted:
        raise NetError(f"input shape {tuple(wanted)}: the net's input has {len(own)} axes: {tuple(own)}")
    return tuple(own[i] if n is None else n for i, n in enumerate(wanted))


def _keep_tops(layer: Any, read: set[str]) -> None:
    """Drop the blobs of an Input layer that nobody reads (labels), each with its shape."""
    shapes = list(layer.input_param.shape) or [pb.BlobShape(dim=DEFAULT_INPUT_SHAPE)]
    if len(shapes) == 1:
        shapes *= len(layer.top)
    kept = [(top, shape) for top, shape in zip(layer.top, shapes) if top in read]
    del layer.top[:], layer.input_param.shape[:]
    layer.top.extend(top for top, _ in kept)
    layer.input_param.shape.extend(shape for _, shape in kept)


def _image_sources(net: Any, unfiltered: Any, read: set[str]) -> list[tuple[Any, str]]:
    """(layer, top) of every blob that a data layer would bring to the kept layers."""
    own = [
        layer
        for layer in net.layer
        if not layer.bottom and layer.type not in ("Input", "Parameter", "DummyData")
    ]
    if not own and not any(layer.type == "Input" for layer in net.layer):
        own = [layer for layer in net.layer if layer.type == "DummyData"]
    sources = [(layer, top) for layer in own for top in layer.top if top in read]
    # The data layer may exist in another phase or stage only, or be left out of the file altogether.
    made = {top for layer in net.layer for top in layer.top}
    for top in dict.fromkeys(bottom for layer in net.layer for bottom in layer.bottom if bottom not in made):
        makers = [layer for layer in unfiltered.layer if top in layer.top]
        makers.sort(key=lambda layer: layer.type != "Input")  # a deploy net's own is the best of them
        maker = makers[0] if makers else pb.LayerParameter(name="data", type="not in the file", top=[top])
        sources.append((maker, top))
    return sources


def data_shape(layer: Any) -> tuple[int | None, ...]:
    """Shape of the images that a data layer brings, None where its parameters do not tell; batch 1."""
    for param in (layer.input_param, layer.dummy_data_param):
        if len(param.shape):
            return tuple(param.shape[0].dim)
    channels = height = width = None
    memory, image, crop = layer.memory_data_param, layer.image_data_param, layer.transform_param.crop_size
    if memory.channels and memory.height and memory.width:
        channels, height, width = memory.channels, memory.height, memory.width
    for param in (image, layer.dense_image_data_param):
        if param.new_height and param.new_width:
            height, width = param.new_height, param.new_width
    if layer.window_data_param.crop_size:
        height = width = layer.window_data_param.crop_size
    if crop:
        height = width = crop
    return 1, channels, height, width
