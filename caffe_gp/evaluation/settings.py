"""What every run is told about its net, how images are fed to it, and the method; what follows from it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Mapping, Sequence, TypeVar

import numpy as np

import caffe_gp
from caffe_gp import engines, provenance
from caffe_gp.errors import DataError, UsageError
from caffe_gp.evaluation.choose_eps import AUTO
from caffe_gp.evaluation.feeding import Mean
from caffe_gp.evaluation.net_sources import NetSource, Opened, net_source
from caffe_gp.evaluation.views import check_views
from caffe_gp.files.fields import integer
from caffe_gp.gp import encodings, steps
from caffe_gp.gp.adapt import TENT_RATE, TENT_STEPS, check_tent
from caffe_gp.images.preprocess import Preprocess, Size
from caffe_gp.models import weights, zoo
from caffe_gp.runs.folder import RunFolder, keyed_folder
from caffe_gp.surgery.batch_norms import TENT

log = logging.getLogger(__name__)
Given = TypeVar("Given", bound="NetSettings")
Run = TypeVar("Run", bound="RunSettings")

_MOST_THREADS = 1 << 12


def required() -> Any:
    """Default of a field that has to be given: settings that inherit others must all have defaults."""
    raise TypeError("settings without a default are missing: see the class")


@dataclass(repr=False)
class NetSettings:
    """The names are those of the command line options; ``model`` only names the net in the results.

    prototxt, caffemodel   of a Caffe net
    eps         step sizes, in units of the blob; 'auto' where a run may choose it (see ``Evaluation``)
    module      'package.module:factory' instead, a PyTorch module (``engines.user_code.load_module``)
    weights     the module's, .pt or .safetensors; None: those that the factory makes
    score       blob of class scores, None: found; of a module, what ``wrap_module`` takes for it
    stages, level   of the net's state, for layers with include or exclude rules
    inputs      values of inputs that the scores need besides the image (see ``surgery.prepare``)
    defines, allow_python_layers, allow_missing_weights   see ``engines.load_net``
    mean        values, or a .binaryproto or .npy file; None, like scale: what the data layer of the prototxt
                says, else FCN's for colour, 0 for grey nets, and scale 1. A module needs them, or ``std``
    std         torchvision's way of feeding: see ``Preprocess``; ``mean`` is then red, green, blue of 0..1
    channel_order   None: 'bgr', with ``std`` 'rgb'
    resize, pad_to   see ``Preprocess``
    average     views whose probabilities are averaged with the image's, GP on each: see ``views``
    adapt       None, or what batch normalisation does with each image: 'bn' takes its statistics, 'tent'
                learns on it as well, ``tent_steps`` times at ``tent_rate``: see ``gp.adapt``
    batch_size  images of one canvas size at once
    precision   what convolutions and inner products compute in: 'float32', 'tf32' (CUDA), or 'bf16'
    deterministic   the same bits run after run on one machine, GPUs too
    command     the command line, for the results
    One number or name is taken where several may be given.
    """

    prototxt: str = ""
    caffemodel: str = ""
    eps: Any = AUTO  # a list of numbers, or AUTO
    model: str | None = None
    module: str | None = None
    weights: str | None = None
    score: str | None = None
    stages: Sequence[str] = ()
    level: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict)
    defines: Mapping[str, str] = field(default_factory=dict)
    allow_python_layers: Sequence[str] | None = None
    allow_missing_weights: bool = False
    mean: Mean = None
    scale: float | None = None
    std: tuple[float, ...] | None = None
    channel_order: str | None = None
    resize: int | Size | None = None
    pad_to: Size | None = None
    blob: str = "data"
    encoding: str = "onehot"
    iterations: int = 1
    inject: str | None = None
    seed: int = 0
    step: str = "sign"
    threshold: float | None = None
    average: tuple[str, ...] = ()
    adapt: str | None = None
    tent_steps: int = TENT_STEPS
    tent_rate: float = TENT_RATE
    engine: str = "auto"
    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 1
    deterministic: bool = False
    quiet: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        if self.module is not None and self.engine == "auto":
            self.engine = "torch"  # whatever the environment says
        self.eps = _several(self.eps, list)
        self.mean, self.std = _several(self.mean, tuple), _several(self.std, tuple)
        if isinstance(self.pad_to, int):
            self.pad_to = (self.pad_to, self.pad_to)

    def __repr__(self) -> str:
        """What differs from the defaults."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        plain = {one.name: one.default for one in fields(self)}
        shown = [f"{name}={value!r}" for name, value in given.items() if not _same(value, plain[name])]
        return f"{type(self).__name__}({', '.join(shown)})"

    @classmethod
    def of_model(cls: type[Given], name: str, **given: Any) -> Given:
        """The settings for a net of the zoo: what is not ``given`` (or None) is the model's or the default.

        A model without eps, or perturbed at an inner blob, leaves it 'auto'. Raises UsageError for an unknown
        name; WeightsError when the weights are neither given nor in ``places.models_folder()``.
        """
        model = zoo.get(name)
        given = {key: value for key, value in given.items() if value is not None}
        if "eps" not in given:  # the model's is in units of its input
            known = model.eps is not None and given.get("blob", "data") == "data"
            given["eps"] = [model.eps] if known else AUTO
        if "caffemodel" not in given:
            given["caffemodel"] = str(weights.require(name))
        own = {"model": name, "prototxt": str(model.prototxt()), "score": model.score, **model.feed_options()}
        return cls(**{**own, **given})

    def resolve(self) -> Resolved:
        """Read the files and find out everything that follows, once.

        Raises UsageError for an input that is no image or two steps of one name, and the errors of
        ``net_source``.
        """
        self.check_eps()
        engines.check_precision(self.precision, self.engine, self.device)
        source = self.source()
        engines.load_caffe(self.engine, self.device, deterministic=self.deterministic)
        described = engines.describe(self.engine, self.device)
        described["precision"] = self.precision
        return Resolved(self, source, self._method(source), described, source.key(), source.about())

    def source(self) -> NetSource:
        """The net as it will be loaded, and how images are fed to it. Runs a module's code."""
        return net_source(self)

    def image_size(self) -> Size | None:
        """(width, height) of one of the images, where these settings know any: a module is tried on it."""
        return None

    def check_eps(self) -> None:
        """UsageError if two steps would get one name in files and tables, and for steps to be chosen."""
        if isinstance(self.eps, str):
            raise UsageError(
                f"eps {self.eps!r}: only a run over images ('{AUTO}') chooses it; give numbers here"
            )
        if not self.eps or len({f"{eps:g}" for eps in self.eps}) < len(self.eps):
            raise UsageError(
                "results are named after eps in six digits, so there must be values, and values must differ "
                f"in them: {self.eps}"
            )

    def net_name(self) -> str:
        """The net in names of folders."""
        if self.module is not None:
            return self.module.replace(":", ".")
        source = Path(self.prototxt)
        return self.model or f"{source.resolve().parent.name}-{source.stem}"

    def class_names(self, classes: int) -> list[str] | None:
        """The model's class names; None without a model, or where its prototxt is another net's."""
        names = zoo.get(self.model).classes if self.model is not None else ()
        return list(names) if len(names) == classes else None

    def eps_source(self) -> str:
        """Where eps comes from: the model's own words, or 'given'."""
        model = zoo.get(self.model) if self.model is not None else None
        return model.eps_source if model is not None and self.eps == [model.eps] else "given"

    def unit(self) -> float:
        """A step to begin a search with: a grey level at the input, 1 at an inner blob."""
        source = self.source()
        return source.preprocess.grey_level if source.blob(self.blob) == source.data else 1.0

    def _method(self, source: NetSource) -> dict[str, Any]:
        """The method's settings as they will be used."""
        encodings.checked_threshold(self.encoding, self.threshold)
        steps.check_step(self.step)
        check_views(self.average)
        check_tent(self.tent_steps, self.tent_rate)
        if self.adapt != TENT and (self.tent_steps, self.tent_rate) != (TENT_STEPS, TENT_RATE):
            raise UsageError("tent_steps and tent_rate are for adapt 'tent'")
        # Only where they are not the default, so that older runs can be resumed.
        more: dict[str, Any] = {} if self.step == "sign" else {"step": self.step}
        if self.threshold is not None:
            more["threshold"] = self.threshold
        if self.average:
            more["average"] = list(self.average)
        if self.adapt is not None:
            more["adapt"] = self.adapt
        if self.adapt == TENT:
            more.update(tent_steps=self.tent_steps, tent_rate=self.tent_rate)
        return {
            "eps": [float(eps) for eps in self.eps],
            "blob": source.blob(self.blob),
            "score": source.score,
            "encoding": self.encoding,
            "inject": encodings.check_choice(self.encoding, self.inject),
            "iterations": self.iterations,
            "seed": self.seed,
            **more,
        }


@dataclass(frozen=True, repr=False)
class Resolved:
    """Settings and what follows from them and from the files they name; found out once, then only read.

    source       the net's files, or its module
    method       the method's settings, for results
    engine       ``engines.describe`` of the process that resolved
    key_of_net   what the numbers depend on of the net; model: what results say of it
    """

    settings: Any
    source: NetSource
    method: dict[str, Any]
    engine: dict[str, Any]
    key_of_net: dict[str, Any]
    model: dict[str, Any]

    @property
    def preprocess(self) -> Preprocess:
        """How images are fed to the net."""
        return self.source.preprocess

    def open_net(self, device: str | None = None) -> Opened:
        """The net loaded, with its weights."""
        settings = self.settings
        net = self.source.open(device or settings.device)
        for warning in net.warnings if settings.quiet else ():  # else they are said with all changes
            log.warning("  %s", warning)
        return net

    def net_key(self) -> dict[str, Any]:
        """What the numbers depend on of the net, how it is fed, and the engine."""
        versions = [self.engine[name] for name in ("engine_version", "torch") if name in self.engine]
        return {
            **self.key_of_net,
            **self.preprocess.describe(),
            "engine": self.engine["engine"],
            "engine_version": ", torch ".join(versions),
            "device": self.settings.device.split(":")[0],
            "version": caffe_gp.__version__,
            **({"deterministic": True} if self.settings.deterministic else {}),
            **({} if self.settings.precision == "float32" else {"precision": self.settings.precision}),
        }

    def origin(self, net: Opened) -> dict[str, Any]:
        """What a result must say: when it was made, by what, and of the net as this process loaded it."""
        settings = self.settings
        return {
            "date": provenance.now(),
            "process": os.getpid(),
            "code_version": provenance.code_version(),
            "command": settings.command,
            "model": {
                **self.model,
                "surgery": net.changes,
                "eps_source": settings.eps_source(),
            },
            "engine": {**engines.describe(settings.engine, net.device), "precision": settings.precision},
            "method": self.method,
            "preprocessing": self.preprocess.describe(),
        }


class NetTask:
    """What the tasks of a net share: a part of ``runs.task.Task``."""

    resolved: Resolved

    @property
    def device(self) -> str:
        """Where workers compute."""
        return self.resolved.settings.device

    @property
    def threads(self) -> int | None:
        """CPU threads of a worker."""
        return self.resolved.settings.threads

    def can_open_here(self) -> bool:
        """BVLC Caffe keeps the threads that it started with."""
        described = engines.describe(self.resolved.settings.engine, self.device)
        return described["engine"] == "torch" or int(described["threads"]) == self.threads


@dataclass(repr=False)
class RunSettings(NetSettings):
    """Settings of what leaves a run's folder.

    out       the run's own folder
    by_key    put the run into a folder of ``out`` that is named after its key: many runs share one ``out``
    workers   processes on this machine, or actors of ``cluster``
    threads   CPU threads of each worker. They change last bits, so a run keeps to the number it began with;
              default: OMP_NUM_THREADS, else the machine's share
    devices   one worker for each, instead of ``device`` and ``workers``
    cluster   None, or a Ray cluster: 'local', 'auto' or 'ray://host:port' (see ``runs.cluster``)
    """

    out: Path = field(default_factory=required)
    by_key: bool = False
    workers: int = 1
    threads: int | None = None
    devices: tuple[str, ...] = ()
    cluster: str | None = None

    def check(self) -> None:
        """UsageError for settings that make no sense together."""
        self.check_eps()
        if self.adapt is not None and self.batch_size != 1:
            raise UsageError("adapt looks at one image at a time: batch_size must be 1")
        if self.workers < 1 or self.batch_size < 1 or (self.threads or 1) < 1:
            raise UsageError("workers, threads and batch_size must be at least 1")
        if self.cluster is not None and self.devices:
            raise UsageError("a cluster chooses its devices itself: give device 'cpu' or 'cuda'")

    def with_workers(self: Run) -> Run:
        """The settings with the number of workers and their threads decided, and paths for a cluster."""
        settings = self
        if settings.devices:
            settings = replace(settings, device=settings.devices[0], workers=len(settings.devices))
        if settings.threads is None:
            threads = int(engines.describe(settings.engine, settings.device)["threads"])
            if not os.environ.get(engines.THREADS_VARIABLE):
                threads = max(1, threads // settings.workers)
                begun = None if settings.by_key else RunFolder(settings.out)
                if begun is not None and begun.is_begun():
                    threads = _threads_of(begun) or threads
            settings = replace(settings, threads=threads)
        if settings.cluster is not None:  # other machines have other current folders
            names = ("prototxt", "caffemodel", "weights")
            paths = {name: getattr(settings, name) for name in names}
            settings = replace(settings, **{name: os.path.abspath(at) for name, at in paths.items() if at})
        return settings

    def folder(self, data: str, key: dict[str, Any]) -> Path:
        """Where a run over the images ``data`` lies."""
        if not self.by_key:
            return Path(self.out)
        return keyed_folder(self.out, f"{self.net_name()}-{data}", key)

    def sharing(self) -> dict[str, Any]:
        """What ``runs.run`` is told about workers."""
        return {name: getattr(self, name) for name in ("workers", "devices", "cluster", "quiet")}


def _several(value: Any, kind: Any) -> Any:
    """Numbers as a list or a tuple: of one, or of several. Other things are left for their checks."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return kind([value])
    return kind(value) if isinstance(value, (list, tuple, range, np.ndarray)) else value


def _same(value: Any, other: Any) -> bool:
    """Whether a setting is its default, or empty."""
    return value is other or (
        isinstance(value, (str, int, float, tuple, list, dict)) and value in (other, {})
    )


def as_names(value: str | Sequence[str]) -> tuple[str, ...]:
    """Names: of one, or of several."""
    return (value,) if isinstance(value, str) else tuple(value)


def _threads_of(folder: RunFolder) -> int | None:
    """The threads that a run began with; DataError if its key was edited."""
    found = folder.key().get("threads")
    try:
        return None if found is None else integer(found, "threads", 1, _MOST_THREADS)
    except ValueError as error:
        raise DataError(f"{folder.path / 'key.json'}: {error}; it belongs to a run's folder") from None
