"""Released weights in other frameworks' files -> a caffemodel that both engines load.

    convert_file("crfrnn_keras_model.h5", "TVG_CRFRNN_COCO_VOC.caffemodel", "crfasrnn-coco")

What each format looks like, and where that was found out, is in ``formats``; ``archives`` opens the files.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, Iterable, Iterator

import numpy as np

from caffe_gp.errors import NetError, UsageError, WeightsError, nearest, printable
from caffe_gp.files.zips import SHOWN
from caffe_gp.models import zoo
from caffe_gp.models.convert.archives import Archive, open_archive
from caffe_gp.models.convert.formats import FORMATS, Format
from caffe_gp.proto import write_caffemodel
from caffe_gp.surgery.param_shapes import param_shapes

__all__ = ["FORMATS", "convert_file", "fitting_models", "guess_format"]

_SHOWN, _COUNTED = 12, 200  # of the things that do not fit


def convert_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model_name: str,
    format: str | None = None,
) -> None:
    """Write the weights of ``source`` as the caffemodel ``target`` of the zoo's model ``model_name``.

    ``format`` is a name in FORMATS, or None to tell it from the content. Every array is float32 and has the
    shape that the net expects; ``target`` appears when it is complete.

    Raises WeightsError for a damaged file, one of another format, and for arrays that are missing, left over
    or of another shape; UsageError for an unknown model or format.
    """
    model = zoo.get(model_name)
    net = model.net()
    if format is not None and format not in FORMATS:
        raise UsageError(f"unknown format '{format}' (known: {', '.join(FORMATS)})")
    with open_archive(source) as archive:
        chosen = guess_format(archive) if format is None else FORMATS[format]
        if chosen.container != archive.kind:
            raise WeightsError(
                f"{archive.path}: {archive.kind}; the format '{chosen.name}' is {chosen.container}"
            )
        problems = list(itertools.islice(_problems(chosen, archive, net), _COUNTED))
        if problems:
            raise WeightsError(
                f"{archive.path}: does not hold {model.title} ({model.name}) as '{chosen.name}':",
                *(f"  {problem}" for problem in problems[:_SHOWN]),
                *([f"  and {_more(len(problems))} more"] if len(problems) > _SHOWN else []),
                *_hint(chosen, archive),
            )
        write_caffemodel(target, net, _collect(chosen, archive, net))


def _more(problems: int) -> str:
    return f"{problems - _SHOWN}" if problems < _COUNTED else "many"


def guess_format(archive: Archive) -> Format:
    """The format that an open file looks like. Raises WeightsError."""
    for format in FORMATS.values():
        if format.container == archive.kind and format.looks_like(archive.shapes):
            return format
    keys = ", ".join(printable(key[:SHOWN]) for key in list(archive.shapes)[:8]) or "nothing"
    raise WeightsError(
        f"{archive.path}: {archive.kind} with {keys}, ...; this is no file of the known formats "
        f"({', '.join(FORMATS)})"
    )


def fitting_models(format: Format, archive: Archive) -> list[str]:
    """Names of the zoo's models whose arrays are all in the file, in the right shapes."""
    return [
        name
        for name, model in zoo.MODELS.items()
        if next(_problems(format, archive, model.net()), None) is None
    ]


def _hint(format: Format, archive: Archive) -> list[str]:
    names = fitting_models(format, archive)
    return [f"It fits {' and '.join(names)}"] if names else []


def _keys(format: Format, net: Any) -> dict[str, tuple[Any, int, tuple[int, ...]]]:
    """What the net needs: (layer, number of the blob, its shape) by key. Raises NetError."""
    layers = {layer.name: layer for layer in net.layer}
    needed = {}
    for name, shapes in param_shapes(net).items():
        for blob, shape in enumerate(shapes):
            needed[format.key(layers[name], blob)] = (layers[name], blob, shape)
    return needed


def _problems(format: Format, archive: Archive, net: Any) -> Iterator[str]:
    """Why the file cannot be converted to this net, by names and shapes alone; none if it can."""
    try:
        needed = _keys(format, net)
    except NetError as error:
        yield f"no file of these formats holds such a net ({error})"
        return
    extra = [key for key in archive.shapes if key not in needed and not format.ignores(key, net)]
    for key, (layer, blob, shape) in needed.items():
        where = f"layer '{layer.name}', blob {blob}: "
        if key in archive.shapes:
            found = archive.shapes[key]
            if _arranged_shape(format, found, layer, blob) != shape:
                yield f"{where}'{key}' has shape {found}, which does not make the expected {shape}"
        elif format.default(layer) is None:
            yield f"{where}'{key}' is missing{_nearest(key, extra or archive.shapes)}"
    for key in extra:
        shown = f"'{printable(key[:SHOWN])}', shape {archive.shapes[key]}"
        yield f"{shown}, belongs to no layer of the net{_nearest(key, needed)}"


def _nearest(key: str, keys: Iterable[str]) -> str:
    near = nearest(key, keys, cutoff=0.75)
    return f" (nearest: {', '.join(printable(one[:SHOWN]) for one in near)})" if near else ""


def _arranged_shape(format: Format, shape: tuple[int, ...], layer: Any, blob: int) -> tuple[int, ...] | None:
    """The shape after ``format.arrange``, tried on an array that takes no memory."""
    try:
        return format.arrange(np.broadcast_to(np.float32(0), shape), layer, blob).shape
    except ValueError:  # another number of axes
        return None


def _collect(format: Format, archive: Archive, net: Any) -> dict[str, list[np.ndarray]]:
    """The net's arrays by layer name, in Caffe's order. Transposed ones are views: nothing is copied here."""
    arrays: dict[str, list[np.ndarray]] = {}
    needed = _keys(format, net)
    for key, (layer, blob, shape) in needed.items():
        if key in archive.shapes:
            array = format.arrange(archive.array(key), layer, blob)
        else:
            array = np.full(shape, format.default(layer), np.float32)
        arrays.setdefault(layer.name, []).append(array)
    for key in set(archive.shapes) - set(needed):
        format.check_ignored(key, archive)
    for layer in net.layer:
        if layer.type == "MultiStageMeanfield":
            _check_compatibility(arrays[layer.name][2], layer.name, archive.path)
    return arrays


def _check_compatibility(matrix: np.ndarray, layer: str, path: str) -> None:
    """Ports of CRF-RNN differ in the sign of the compatibility matrix; a wrong one would undo the CRF.

    Caffe subtracts matrix x messages, so neighbours of the same label have to count negative.
    """
    trace = float(np.trace(matrix[0, 0]))
    if not trace < 0:
        raise WeightsError(
            f"{path}: layer '{layer}', blob 2: the compatibility matrix has the trace {trace:g} after "
            "conversion; expected a negative one. The sign is not the one that the port's code has"
        )
