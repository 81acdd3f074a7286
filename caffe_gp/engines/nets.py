"""A Caffe net opened and made ready for guided perturbations, on either engine."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from typing import Any, Mapping, NoReturn, Sequence

import numpy as np
from google.protobuf.message import Message

from caffe_gp import proto
from caffe_gp.engines.fitting import check_weights, copy_weights, never_filled, set_channels, stored_blobs
from caffe_gp.engines.guarded import in_child
from caffe_gp.engines.load import check_precision, load_caffe, resolve
from caffe_gp.engines.tried import tried_net, try_in_child
from caffe_gp.errors import CaffeGPError, UsageError, with_source
from caffe_gp.gp.perturbed_net import refuse_pickle
from caffe_gp.images import notebook
from caffe_gp.images.placing import Placing
from caffe_gp.python_layers.users import check_allowed, report_errors_of_net, use_built_in
from caffe_gp.surgery.prepare import Prepared, prepare

IN_MEMORY = "<NetParameter>"  # the name in messages of a net that no file describes


@dataclass(repr=False)
class GPNet:
    """A loaded net that is ready for guided perturbations.

    net        the engine's ``caffe.Net`` (TEST phase, weights loaded)
    data, score, prob   names of the image blob, the class-score blob and its Softmax
    changes    what the surgery did, one sentence each
    other_inputs   values that its other inputs get with every image
    warnings   those of ``changes`` that put the results in doubt: weights that are missing or empty
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
    warnings: list[str] = field(default_factory=list)

    @property
    def precision(self) -> str:
        """What convolutions and inner products compute in: 'float32', 'tf32' or 'bf16'."""
        return getattr(self.net, "precision", None) or "float32"

    def __repr__(self) -> str:
        blobs = (f"{name} {tuple(self.net.blobs[name].shape)}" for name in (self.data, self.score))
        weights = self.caffemodel or "the fillers' weights"
        return (
            f"<GPNet {self.prototxt} with {weights}: {' -> '.join(blobs)}; engine {self.engine}, "
            f"{self.device}; {len(self.changes)} changes>"
        )

    def _repr_html_(self) -> str:
        rows = [[name, " x ".join(map(str, self.net.blobs[name].shape))] for name in (self.data, self.score)]
        rows += [["change", change] for change in self.changes]
        weights = self.caffemodel or "the fillers' weights"
        title = f"{self.prototxt} with {weights}; engine {self.engine}, {self.device}"
        return notebook.table(title, ["blob", "shape"], rows)

    def __reduce__(self) -> NoReturn:
        refuse_pickle("a loaded net", "load_net")

    @property
    def placing(self) -> Placing:
        """Where the image's pixels lie in the scores; None where that does not follow from the layers."""
        return self.prepared.placing

    @property
    def own_size(self) -> tuple[int, int]:
        """(height, width) of the image that the description says."""
        height, width = self.prepared.input_shape.dim[2:]
        return height, width

    @property
    def one_size(self) -> bool:
        """Whether it takes images of that size only."""
        return bool(self.prepared.fixed)

    @property
    def prepared_prototxt(self) -> str:
        """The text of ``prepared``."""
        return proto.to_text(self.prepared.net)


def load_net(
    prototxt: str | os.PathLike | Message,
    caffemodel: str | os.PathLike | None = None,
    *,
    engine: str = "auto",
    device: str = "cpu",
    precision: str = "float32",
    score: str | None = None,
    input_shape: Sequence[int | None] | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
    inputs: Mapping[str, Any] | None = None,
    defines: Mapping[str, object] | None = None,
    allow_python_layers: Sequence[str] | None = None,
    allow_missing_weights: bool = False,
) -> GPNet:
    """Load any Caffe net (deploy, train/val or released files, or a NetParameter) for guided perturbations.

    The prototxt is read, edited by ``prepare`` (see there for ``score`` to ``inputs``) and loaded with the
    weights of ``caffemodel``; without one the weights are the fillers'. Files stay untouched. A layer that
    the file has no weights for is an error, unless its filler makes bilinear upsampling or
    ``allow_missing_weights`` is set. ``defines``: values of ``${NAME}`` in the prototxt.
    ``precision``: what convolutions and inner products compute in, 'float32', 'tf32' (on a GPU) or 'bf16'
    (docs/gpu.md).
    ``allow_python_layers``: modules that layers of type "Python" may run; None, as in pycaffe: all.
    Raises PrototxtError, NetError, WeightsError, EngineError. With engine 'bvlc' the net is first opened and
    run forward and backward in a child process, and every new shape of its inputs is tried in one: where
    Caffe would end the process, EngineError is raised.
    """
    check_precision(precision, engine, device)
    prepared = prepare_net(
        prototxt,
        caffemodel,
        engine=engine,
        score=score,
        input_shape=input_shape,
        stages=stages,
        level=level,
        inputs=inputs,
        defines=defines,
        allow_python_layers=allow_python_layers,
    )
    prototxt = prototxt if isinstance(prototxt, (str, os.PathLike)) else IN_MEMORY
    in_session = resolve(engine) == "bvlc" and not in_child()
    if in_session:
        try_in_child(_rehearse, prepared, prototxt, caffemodel, allow_missing_weights)
    return open_net(
        prepared,
        prototxt,
        caffemodel,
        engine=engine,
        device=device,
        precision=precision,
        allow_missing_weights=allow_missing_weights,
        tried=in_session,
    )


def _rehearse(
    prepared: Prepared,
    prototxt: str | os.PathLike,
    caffemodel: str | os.PathLike | None,
    allow_missing_weights: bool,
) -> None:
    # On the CPU: CUDA does not survive a fork.
    opened = open_net(
        prepared, prototxt, caffemodel, engine="bvlc", allow_missing_weights=allow_missing_weights
    )
    opened.net.forward()
    opened.net.backward()


def open_net(
    prepared: Prepared,
    prototxt: str | os.PathLike,
    caffemodel: str | os.PathLike | None = None,
    *,
    engine: str = "auto",
    device: str = "cpu",
    precision: str = "float32",
    deterministic: bool = False,
    one_size: bool = False,
    allow_missing_weights: bool = False,
    tried: bool = False,
) -> GPNet:
    """``load_net`` of a description that ``prepare_net`` has made already for the same engine.

    precision       see ``load_net``
    deterministic   see ``load_caffe``
    one_size        it will get images of one size: see ``caffe.set_benchmark``
    tried   whether BVLC Caffe's net is a ``tried_net``; without it, what does not fit ends the process
    """
    engine, prototxt = resolve(engine), os.fspath(prototxt)
    check_precision(precision, engine, device)
    caffe = load_caffe(engine, device, deterministic=deterministic)
    net = _build_net(caffe, prepared.net, prototxt, tried)
    if engine == "torch":
        net.precision = precision
        caffe.set_benchmark(one_size or bool(prepared.fixed))
    warnings: list[str] = []
    if caffemodel is not None:
        caffemodel = os.fspath(caffemodel)
        warnings += check_weights(caffemodel, net.params, prepared, allow_missing_weights)
        copy_weights(net, caffemodel, engine, prepared.parts)
        warnings += never_filled(net.params, prepared)
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
        [*prepared.changes, *warnings],
        prepared.others,
        warnings,
    )


def prepare_net(
    prototxt: str | os.PathLike | Message,
    caffemodel: str | os.PathLike | None = None,
    *,
    engine: str = "auto",
    score: str | None = None,
    input_shape: Sequence[int | None] | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
    inputs: Mapping[str, Any] | None = None,
    defines: Mapping[str, object] | None = None,
    allow_python_layers: Sequence[str] | None = None,
) -> Prepared:
    """The description that ``load_net`` loads, without the engine; the arguments are the same.

    A ``caffemodel`` that is no weights file is refused here already.
    """
    if isinstance(prototxt, (str, os.PathLike)):
        source = os.fspath(prototxt)
        param = proto.read_net_param(source, defines=defines)
    elif getattr(getattr(prototxt, "DESCRIPTOR", None), "name", "") == "NetParameter":
        # By its text: BVLC's and the forks' classes have other numbers for some of the names.
        source = IN_MEMORY
        param = proto.parse_net_param(proto.to_text(prototxt), source, defines=defines)
    else:
        raise UsageError(
            f"a net is the path of a prototxt or a NetParameter, found {type(prototxt).__name__}"
        )
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
        if resolve(engine) == "torch":
            use_built_in(prepared.net, allow_python_layers)
        check_allowed(prepared.net, allow_python_layers)
    except CaffeGPError as error:
        raise with_source(error, source) from error
    if caffemodel is not None:
        stored = stored_blobs(os.fspath(caffemodel))
        if prepared.channels_are_guess:
            set_channels(prepared, stored)
    return prepared


def forward(net: Any, blob: str, values: np.ndarray) -> None:
    """Give an input ``blob`` the values, and their shape, and run the net."""
    net.blobs[blob].reshape(*values.shape)
    net.blobs[blob].data[...] = values
    net.forward()


def _build_net(caffe: Any, param: Any, source: str, tried: bool) -> Any:
    if hasattr(caffe.Net, "from_param"):  # the embedded Caffe: its messages then name the user's file
        return caffe.Net.from_param(param, caffe.TEST, source=source)
    report_errors_of_net(proto.filter_net(param, caffe.TEST), source, caffe.Layer)
    with tempfile.TemporaryDirectory(prefix="caffe_gp_") as folder:
        path = os.path.join(folder, os.path.basename(source))
        with open(path, "w", encoding="utf-8") as file:
            file.write(proto.to_text(param))
        return (tried_net(caffe.Net) if tried else caffe.Net)(path, caffe.TEST)
