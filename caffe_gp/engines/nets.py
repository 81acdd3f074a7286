"""A Caffe net opened and made ready for guided perturbations, on either engine."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp import proto
from caffe_gp.engines.load import load_caffe, resolve
from caffe_gp.errors import CaffeGPError, WeightsError, with_source
from caffe_gp.python_layers.users import report_errors_of_net
from caffe_gp.surgery.prepare import Prepared, prepare


@dataclass
class GPNet:
    """A loaded net that is ready for guided perturbations.

    net        the engine's ``caffe.Net`` (TEST phase, weights loaded)
    data, score, prob   names of the image blob, the class-score blob and its Softmax
    changes    what the surgery did, one sentence each
    other_inputs   values that its other inputs get with every image
    engine     'torch' or 'bvlc'
    device     'cpu', 'cuda' or 'cuda:N'
    prototxt, caffemodel   the files it came from
    prepared               the description that was loaded in place of the prototxt
    """

    net: Any
    data: str
    score: str
    prob: str
    engine: str
    device: str
    prototxt: str
    caffemodel: str | None
    prepared: Prepared
    changes: list[str] = field(default_factory=list)
    other_inputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def prepared_prototxt(self) -> str:
        """The text of ``prepared``."""
        return proto.to_text(self.prepared.net)


def load_net(
    prototxt: str | os.PathLike,
    caffemodel: str | os.PathLike | None = None,
    *,
    engine: str = "auto",
    device: str = "cpu",
    score: str | None = None,
    input_shape: Sequence[int | None] | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
    inputs: Mapping[str, Any] | None = None,
) -> GPNet:
    """Load any Caffe net (deploy, train/val or released files) for guided perturbations.

    The prototxt is read, edited by ``prepare`` (see there for ``score`` to ``inputs``) and
    loaded with the weights of ``caffemodel``; without one the weights are the fillers'. Files stay untouched.
    Raises PrototxtError, NetError, WeightsError, EngineError. With engine 'bvlc', wrong weights abort the
    process: call through ``run_guarded``.
    """
    prepared = prepare_net(
        prototxt,
        caffemodel,
        engine=engine,
        score=score,
        input_shape=input_shape,
        stages=stages,
        level=level,
        inputs=inputs,
    )
    return open_net(prepared, prototxt, caffemodel, engine=engine, device=device)


def open_net(
    prepared: Prepared,
    prototxt: str | os.PathLike,
    caffemodel: str | os.PathLike | None = None,
    *,
    engine: str = "auto",
    device: str = "cpu",
) -> GPNet:
    """``load_net`` of a description that ``prepare_net`` has made already for the same engine."""
    engine, prototxt = resolve(engine), os.fspath(prototxt)
    net = _build_net(load_caffe(engine, device), prepared.net, prototxt)
    changes = list(prepared.changes)
    if caffemodel is not None:
        caffemodel = os.fspath(caffemodel)
        changes += _check_weights(caffemodel, net, prepared.probe)
        net.copy_from(caffemodel)
    return GPNet(
        net,
        prepared.data,
        prepared.score,
        prepared.prob,
        engine,
        device,
        prototxt,
        caffemodel,
        prepared,
        changes,
        prepared.others,
    )


def prepare_net(
    prototxt: str | os.PathLike,
    caffemodel: str | os.PathLike | None = None,
    *,
    engine: str = "auto",
    score: str | None = None,
    input_shape: Sequence[int | None] | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
    inputs: Mapping[str, Any] | None = None,
) -> Prepared:
    """The description that ``load_net`` loads, without the engine; the arguments are the same.

    A ``caffemodel`` that is no weights file is refused here already.
    """
    prototxt = os.fspath(prototxt)
    param = proto.read_net_param(prototxt)
    try:
        prepared = prepare(
            param,
            score=score,
            input_shape=input_shape,
            stages=stages,
            level=level,
            inputs=inputs,
            engine=resolve(engine),
        )
    except CaffeGPError as error:
        raise with_source(error, prototxt) from error
    if caffemodel is not None:
        stored = _stored_blobs(os.fspath(caffemodel))
        if prepared.channels_are_guess:
            _set_channels(prepared, stored)
    return prepared


def forward(net: Any, blob: str, values: np.ndarray) -> None:
    """Give an input ``blob`` the values, and their shape, and run the net."""
    net.blobs[blob].reshape(*values.shape)
    net.blobs[blob].data[...] = values
    net.forward()


def _build_net(caffe: Any, param: Any, source: str) -> Any:
    if hasattr(caffe.Net, "from_param"):  # the embedded Caffe: its messages then name the user's file
        return caffe.Net.from_param(param, caffe.TEST, source=source)
    report_errors_of_net(proto.filter_net(param, caffe.TEST), source, caffe.Layer)
    with tempfile.TemporaryDirectory(prefix="caffe_gp_") as folder:
        path = os.path.join(folder, os.path.basename(source))
        with open(path, "w", encoding="utf-8") as file:
            file.write(proto.to_text(param))
        return caffe.Net(path, caffe.TEST)


def _stored_blobs(path: str) -> list[tuple[str, list[Any]]]:
    """Layer names and blobs of a weights file, of which only the shapes may be used: the file is closed."""
    with proto.read_weights(path) as weights:
        return list(weights)


def _set_channels(prepared: Prepared, stored: Sequence[tuple[str, list[Any]]]) -> None:
    """Give an Input layer that replaces a data layer the channels that the first convolution's weights have.

    A data layer does not tell grey from colour.
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


def _check_weights(path: str, net: Any, probe: str) -> list[str]:
    """Sentences about layers that the file has no weights for; WeightsError where it cannot be right.

    Caffe skips a layer of the file that the net lacks, keeps the fillers of a layer that the file lacks, both
    without a word, and aborts on a wrong shape.
    """
    found = set()
    for name, blobs in _stored_blobs(path):
        if name not in net.params:
            continue
        found.add(name)
        expected = [tuple(blob.data.shape) for blob in net.params[name]]
        shapes = [None if blob is None else tuple(blob.shape) for blob in blobs]
        # None: a shared blob, whose values are with its owner.
        if len(shapes) != len(expected) or not all(
            blob is None or blob.fits(shape) for blob, shape in zip(blobs, expected)
        ):
            raise WeightsError(
                f"{path}: layer '{name}' has blobs of shapes {shapes}, the net expects {expected}"
            )
    missing = [name for name in net.params if name not in found and name != probe]
    if not found and missing:
        raise WeightsError(
            f"{path}: no layer in this file has the name of a layer of the net "
            f"({', '.join(missing[:5])}, ...): these are another net's weights"
        )
    return (
        [f"no weights in the file for {', '.join(missing)}: left as their fillers made them"]
        if missing
        else []
    )
