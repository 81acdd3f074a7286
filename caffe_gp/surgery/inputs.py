"""What a net is fed: an Input layer for the images, in place of whatever data layer the file has."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from caffe_gp.errors import DataError, NetError, did_you_mean, nearest
from caffe_gp.gp.softmaxes import is_loss
from caffe_gp.proto import messages as pb
from caffe_gp.surgery.layers import by, free_name, listed, names_of

DEFAULT_INPUT_SHAPE = (1, 3, 500, 500)
_ABSENT = "not in the file"
_MEASURES = ("Accuracy", "SegAccuracy", "Silence")
_MOST_LABELS = 10  # that may be missing and are compared with the blobs that there are


class Fed(NamedTuple):
    """What a prepared net is fed.

    data     the image blob
    channels_are_guess   whether nothing told the number of its channels
    others   values of the other inputs that the scores need, float32 with the blob's number of axes; of the
             size 1 along an axis on which they do not change
    source   the data layer that the image blob came from, None for an Input layer
    own_size   height and width of the image in the file, None where it does not tell
    """

    data: str
    channels_are_guess: bool
    others: dict[str, np.ndarray]
    source: Any
    own_size: tuple[int, int] | None


class _Source(NamedTuple):
    """A blob that is brought to the net, the layer that brings it, and its shape as far as that tells it."""

    top: str
    layer: Any
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        where = {"Input": "", _ABSENT: " (no layer makes it)"}.get(
            self.layer.type, f" of layer '{self.layer.name}'"
        )
        known = f" ({by(self.shape)})" if any(self.shape[1:]) else ""
        return f"'{self.top}'{where}{known}"


def add_input(
    net: Any,
    unfiltered: Any,
    shape: Sequence[int | None] | None,
    given: Mapping[str, Any],
    changes: list[str],
) -> Fed:
    """Make Input layers bring all that the net reads: the image, and inputs whose values are ``given``."""
    sources = _sources(net, unfiltered)
    image = _image_among(net, sources, given)
    others = {source.top: _values(source, given[source.top]) for source in sources if source.top in given}
    dims = _image_shape(net, image, shape)
    if shape is None:  # an array of another size than the file's: the image goes with it
        for source in sources:
            size = others[source.top].shape[2:] if source.top in others else ()
            if source.shape[2:] == image.shape[2:] and set(size) - {1}:
                dims = (*dims[:2], *size)
    shapes = {image.top: dims}
    for source in sources:
        if source.top in others:
            shapes[source.top] = _shape_of(others[source.top], source, image.shape, dims)
            changes.append(f"input '{source.top}' of shape {by(shapes[source.top])} gets the values given")
    for source in reversed(sources):
        _bring(net, source, shapes[source.top], changes)
    is_guess = _merged(image.shape, shape)[1:2] == (None,)
    height, width = image.shape[2:] if len(image.shape) == 4 else (None, None)
    own_size = None if height is None or width is None else (height, width)
    data_layer = None if image.layer.type == "Input" else image.layer
    return Fed(image.top, is_guess, others, data_layer, own_size)


def _image_among(net: Any, sources: Sequence[_Source], given: Mapping[str, Any]) -> _Source:
    if not sources:
        raise NetError(f"net '{net.name}' has no data or Input layer that the scores depend on")
    tops = [source.top for source in sources]
    for name in given:
        if name not in tops:
            raise NetError(
                f"the scores need no input '{name}'{did_you_mean(name, tops)} (inputs: {listed(tops)})"
            )
    left = [source for source in sources if source.top not in given]
    if len(left) == 1:
        return left[0]
    readers = {bottom: layer.name for layer in reversed(net.layer) for bottom in layer.bottom}  # the first
    found = listed([f"{source}, read by layer '{readers[source.top]}'" for source in left or sources])
    if not left:
        raise NetError(f"no input is left for the image: values were given for all, {found}")
    raise NetError(
        f"the scores need {len(left)} inputs: {found}. The image goes into one of them; give values for the "
        "others with --input NAME=FILE.npy, or --input NAME=V,V,... for constants (in Python: "
        "inputs={'NAME': array}), or name with --score a blob that needs the image alone"
    )


def _image_shape(net: Any, image: _Source, wanted: Sequence[int | None] | None) -> tuple[int, ...]:
    known = _merged(image.shape, wanted)
    fixed = [layer.name for layer in net.layer if layer.type == "InnerProduct"]
    if fixed and None in known[2:]:
        raise NetError(
            f"layer '{fixed[0]}' (InnerProduct) needs images of one size, which data layer "
            f"'{image.layer.name}' ({image.layer.type}) does not tell: give --resize W,H (in Python: "
            "input_shape=(None, None, H, W))"
        )
    return tuple(DEFAULT_INPUT_SHAPE[i] if n is None else n for i, n in enumerate(known))


def _values(source: _Source, given: Any) -> np.ndarray:
    """What was given for an input, with its number of axes: an array, or constants, one for each channel."""
    shape, where = source.shape, f"input {source}"
    try:
        values = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError):
        raise DataError(f"{where}: expected numbers, found {given!r}") from None
    if not np.isfinite(values).all() or not values.size:
        raise DataError(f"{where}: the values given are none, NaN or infinite")
    if values.ndim <= 1 < len(shape):
        if None in shape[1:]:
            raise DataError(f"{where}: its shape is not in the file, so constants do not do: give an array")
        values = values.reshape(1, -1, *(1,) * (len(shape) - 2))
    elif values.ndim == len(shape) - 1:
        values = values[np.newaxis]
    fits = values.ndim == len(shape) and values.shape[0] == 1
    channels = shape[1] if len(shape) > 1 else None
    if not fits or (channels is not None and values.shape[1] not in (1, channels)):
        raise DataError(
            f"{where}: values of shape {np.shape(given)}; expected {by(shape)}, one image's, or constants: "
            "one number or one a channel"
        )
    return values


def _shape_of(
    values: np.ndarray, source: _Source, image: Sequence[int | None], dims: Sequence[int]
) -> tuple[int, ...]:
    """The shape of an input: its values', or for constants its own, which is as large as the image's."""
    if set(values.shape[2:]) - {1} or None in source.shape:
        return (dims[0], source.shape[1] or values.shape[1], *values.shape[2:])
    if len(image) == len(source.shape) == 4 and tuple(image[2:]) == source.shape[2:]:
        return (dims[0], source.shape[1] or 1, *dims[2:])
    return (dims[0], *(n or 1 for n in source.shape[1:]))


def _bring(net: Any, source: _Source, dims: Sequence[int], changes: list[str]) -> None:
    """Let an Input layer bring a blob in this shape."""
    if source.layer.type == "Input" and any(layer is source.layer for layer in net.layer):
        shape = source.layer.input_param.shape[list(source.layer.top).index(source.top)]
        if tuple(shape.dim) != tuple(dims):
            shape.ClearField("dim")
            shape.dim.extend(dims)
            changes.append(f"input '{source.top}' reshaped to {by(dims)}")
        return
    name, kind = source.layer.name, source.layer.type
    made = f"Input '{source.top}' of shape {by(dims)}"
    if kind == "Input":
        changes.append(f"{made} from layer '{name}', which is of another phase or stage")
    else:
        changes.append(f"replaced data layer '{name}' ({kind}) by {made}")
    others = [layer for layer in net.layer if source.top not in layer.top or layer.bottom]
    del net.layer[:]
    added = net.layer.add(name=free_name(names_of(others), "input"), type="Input", top=[source.top])
    added.input_param.shape.add(dim=dims)
    net.layer.extend(others)


def _sources(net: Any, unfiltered: Any) -> list[_Source]:
    """Everything that Input and data layers would bring to the kept layers, in the order of the file."""
    read = {bottom for layer in net.layer for bottom in layer.bottom}
    found = []
    for layer in net.layer:
        if layer.type == "Input":
            _keep_tops(layer, read)
            shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
            found += [_Source(top, layer, shape) for top, shape in zip(layer.top, shapes)]
        elif not layer.bottom and layer.type not in ("Parameter", "DummyData"):
            found += [_of_data_layer(layer, top) for top in layer.top if top in read]
    if not found:
        dummies = [layer for layer in net.layer if layer.type == "DummyData"]
        found = [_of_data_layer(layer, top) for layer in dummies for top in layer.top if top in read]
    return found + _left_out(net, unfiltered)


def _of_data_layer(layer: Any, top: str) -> _Source:
    first = layer.top[0] == top
    return _Source(top, layer, data_shape(layer) if first else (1, None, None, None))


def _left_out(net: Any, unfiltered: Any) -> list[_Source]:
    """What is read and not made: its data layer may be of another phase or stage, or not in the file."""
    made = {top for layer in net.layer for top in layer.top}
    makers: dict[str, Any] = {}
    # A deploy net's own Input is the best of several.
    for layer in sorted(unfiltered.layer, key=lambda layer: layer.type != "Input"):
        for top in layer.top:
            makers.setdefault(top, layer)
    left_out = dict.fromkeys(bottom for layer in net.layer for bottom in layer.bottom if bottom not in made)
    return [
        _of_data_layer(makers.get(top, pb.LayerParameter(name="data", type=_ABSENT, top=[top])), top)
        for top in left_out
    ]


def check_bottoms(net: Any, unfiltered: Any) -> None:
    """NetError for a bottom that no layer of the file makes, or only a later one, and for a blob made twice.

    A file without any Input or data layer may have left out the one that brings the images; one with an Input
    layer may have kept a loss or an accuracy without the label, which will be dropped.
    """
    _check_order(net)
    if all(layer.bottom for layer in unfiltered.layer if layer.type != "Parameter"):
        return
    # The last first, which losses read: of very many blobs not all are compared.
    made = dict.fromkeys(top for layer in reversed(unfiltered.layer) for top in layer.top)
    dropped = filter(_is_dropped, net.layer)
    labels = dict.fromkeys(bottom for layer in dropped for bottom in layer.bottom if bottom not in made)
    misspelt = {label for label in list(labels)[:_MOST_LABELS] if nearest(label, made, 1, 0.8)}
    for layer in net.layer:
        for bottom in layer.bottom:
            if bottom in made or _is_dropped(layer) and bottom not in misspelt:
                continue
            raise NetError(
                f"layer '{layer.name}' ({layer.type}): no layer makes its bottom '{bottom}'"
                f"{did_you_mean(bottom, made)}"
            )


def _is_dropped(layer: Any) -> bool:
    """Whether no scores depend on a layer of this type, so that it may lack a label."""
    return is_loss(layer.type) or layer.type in _MEASURES


def _check_order(net: Any) -> None:
    """NetError for a bottom that is made later, a blob that two layers make, and an Input with bottoms."""
    later = {top for layer in net.layer for top in layer.top if top not in layer.bottom}
    made: dict[str, str] = {}
    for layer in net.layer:
        if layer.type == "Input" and layer.bottom:
            raise NetError(f"layer '{layer.name}' (Input): takes no bottom, found '{layer.bottom[0]}'")
        for bottom in later.intersection(layer.bottom):
            raise NetError(
                f"layer '{layer.name}' ({layer.type}): its bottom '{bottom}' is made by a later layer only"
            )
        later.difference_update(layer.top)
        for top in layer.top:
            if top in made and top not in layer.bottom:
                raise NetError(f"blob '{top}' is made by two layers: '{made[top]}' and '{layer.name}'")
            made[top] = layer.name


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


def data_shape(layer: Any) -> tuple[int | None, ...]:
    """Shape of the images that a data layer brings, None where its parameters do not tell; batch 1."""
    for param in (layer.input_param, layer.dummy_data_param):
        if len(param.shape):
            return tuple(param.shape[0].dim)
    channels = height = width = None
    memory, image = layer.memory_data_param, layer.image_data_param
    if memory.channels and memory.height and memory.width:
        channels, height, width = memory.channels, memory.height, memory.width
    for param in (image, layer.dense_image_data_param):
        if param.new_height and param.new_width:
            height, width = param.new_height, param.new_width
    if layer.window_data_param.crop_size:
        height = width = layer.window_data_param.crop_size
    height, width = _transformed_size(layer.transform_param) or (height, width)
    if layer.transform_param.force_gray or not (image.is_color and layer.dense_image_data_param.is_color):
        channels = 1
    return 1, channels, height, width


def _transformed_size(param: Any) -> tuple[int, int] | None:
    """Height and width that a TransformationParameter gives to images, Caffe's or a fork's."""
    # PSPNet's, SSD's, Caffe's.
    crops = (param.crop_height, param.crop_width), (param.crop_h, param.crop_w), (param.crop_size,) * 2
    resized = {(one.height, one.width) for one in param.resize_param}  # SSD's
    # Ports of YOLO choose one of several at random.
    sizes = [*crops, *(resized if len(resized) == 1 else ())]
    return next((size for size in sizes if all(size)), None)
