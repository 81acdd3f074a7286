"""Where the net of a run comes from: Caffe's files, or a PyTorch module of the user's own.

For example:

    source = net_source(NetSettings(module="nets:make", weights="w.pt", mean=(0.5,), std=(0.5,)))
    source.preprocess, source.changes, source.open("cpu")
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, Union

import numpy as np

from caffe_gp import engines, proto
from caffe_gp.engines.user_code import LoadedModule, load_module
from caffe_gp.errors import NetError, OutOfMemoryError, UsageError
from caffe_gp.evaluation.feeding import module_preprocess, module_words, preprocess
from caffe_gp.files.hashes import sha256_of, sha256_of_array, sha256_of_text
from caffe_gp.images.preprocess import Preprocess, Size
from caffe_gp.surgery.batch_norms import use_image_statistics
from caffe_gp.surgery.prepare import Prepared

_PROBED = (224, 224)  # the size of the image that a module is tried on, where nothing says one
# Options that say something about Caffe's files.
_OF_CAFFE = {
    "prototxt": "--prototxt",
    "caffemodel": "--caffemodel",
    "model": "--model",
    "stages": "--stage",
    "level": "--level",
    "inputs": "--input",
    "defines": "--define",
    "allow_python_layers": "--allow-python-layers",
    "adapt": "--adapt",
}

Opened = Union[engines.GPNet, Any]  # or engines.module.WrappedModule, which needs torch


class NetSource(Protocol):
    """What a run needs of its net before and while it is loaded. Travels to other processes (pickle).

    data, score   names of the image blob and the score blob
    changes       what was done to the net, and how it is fed, one sentence each
    preprocess    how images are fed to it
    """

    @property
    def data(self) -> str: ...

    @property
    def score(self) -> str: ...

    @property
    def changes(self) -> list[str]: ...

    @property
    def preprocess(self) -> Preprocess: ...

    def blob(self, name: str) -> str:
        """The name of the blob to perturb that ``name`` means."""

    def open(self, device: str) -> Opened:
        """The net, loaded."""

    def key(self) -> dict[str, Any]:
        """What the numbers depend on of the net; reads its files."""

    def about(self) -> dict[str, Any]:
        """What a result says of the net: files and their hashes; reads them."""


def net_source(settings: Any) -> NetSource:
    """The source of ``settings`` (``NetSettings``). Their files are read, a module's code is run.

    UsageError for neither or both; the errors of ``engines.prepare_net``, ``load_module`` and ``Preprocess``.
    """
    if settings.module is not None:
        return ModuleSource.of(settings)
    if settings.weights is not None:
        raise UsageError("weights (--weights) are of a module (--module); those of a Caffe net: --caffemodel")
    for needed in ("prototxt", "caffemodel"):
        if not getattr(settings, needed):
            raise UsageError(f"a net is a prototxt with a caffemodel, or a module: {needed} is missing")
    return CaffeSource.of(settings)


@dataclass(frozen=True)
class CaffeSource:
    """A prototxt and a caffemodel. ``prepared``: the net's description as it is loaded."""

    settings: Any
    prepared: Prepared
    preprocess: Preprocess

    @classmethod
    def of(cls, settings: Any) -> CaffeSource:
        """Read and prepare the prototxt."""
        prepared = engines.prepare_net(
            settings.prototxt,
            settings.caffemodel,
            engine=settings.engine,
            score=settings.score,
            stages=settings.stages,
            level=settings.level,
            inputs=settings.inputs,
            defines=settings.defines,
            allow_python_layers=settings.allow_python_layers,
            input_shape=_input_shape(settings),
        )
        if settings.adapt is not None:
            use_image_statistics(prepared.net, settings.adapt, prepared.changes)
        return cls(settings, prepared, preprocess(settings, prepared))

    @property
    def data(self) -> str:
        return self.prepared.data

    @property
    def score(self) -> str:
        return self.prepared.score

    @property
    def changes(self) -> list[str]:
        return self.prepared.changes

    def blob(self, name: str) -> str:
        """'data' is the input, unless a layer makes a blob of that name."""
        made = {top for layer in self.prepared.net.layer for top in layer.top}
        return self.data if name == "data" and "data" not in made else name

    def open(self, device: str) -> engines.GPNet:
        settings = self.settings
        return engines.open_net(
            self.prepared,
            settings.prototxt,
            settings.caffemodel,
            engine=settings.engine,
            device=device,
            precision=settings.precision,
            deterministic=settings.deterministic,
            one_size=_input_shape(settings) is not None,
            allow_missing_weights=settings.allow_missing_weights,
        )

    def key(self) -> dict[str, Any]:
        others = {name: sha256_of_array(values) for name, values in self.prepared.others.items()}
        return {
            "caffemodel_sha256": self._sha256_of_caffemodel,
            "prepared_prototxt_sha256": sha256_of_text(proto.to_text(self.prepared.net)),
            **({"inputs": others} if others else {}),
        }

    def about(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "name": settings.model,
            "prototxt": settings.prototxt,
            "prototxt_sha256": sha256_of(settings.prototxt),
            "caffemodel": settings.caffemodel,
            "caffemodel_sha256": self._sha256_of_caffemodel,
        }

    @cached_property  # half a gigabyte is read once
    def _sha256_of_caffemodel(self) -> str:
        return sha256_of(self.settings.caffemodel)


def _input_shape(settings: Any) -> tuple[int | None, ...] | None:
    """The canvas' shape where it is fixed, so that a net of one size is built for it at once."""
    size = settings.pad_to or (settings.resize if isinstance(settings.resize, tuple) else None)
    return None if size is None else (1, None, size[1], size[0])


@dataclass(frozen=True)
class ModuleSource:
    """A ``torch.nn.Module`` by its name; each process imports and calls the factory.

    loaded   what is known of it, without the module
    size     (width, height) of the image that it was tried on
    opened   the module, wrapped, until it is asked for; stays in its process
    """

    settings: Any
    loaded: LoadedModule
    size: Size
    preprocess: Preprocess
    changes: list[str]
    opened: list[Any] = field(default_factory=list, repr=False, compare=False)
    data: str = "data"
    score: str = "score"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "opened": []}

    @classmethod
    def of(cls, settings: Any) -> ModuleSource:
        """Import and call the factory, load the weights, and try the module on an image of noise."""
        _check(settings)
        loaded = _loaded(settings)
        wrapped, feed, tried = _tried(settings, loaded, settings.image_size() or _PROBED)
        without = LoadedModule(**{**vars(loaded), "module": None})
        scores = " x ".join(map(str, wrapped.net.blobs["score"].shape))
        changes = [
            _sentence(settings, loaded),
            module_words(feed),
            f"scores of an image of {tried[0]} x {tried[1]}: {scores}",
        ]
        wrapped.changes = list(changes)
        alone = getattr(settings, "workers", 1) == 1 and not getattr(settings, "cluster", None)
        return cls(settings, without, tried, feed, changes, [wrapped] if alone else [])

    def blob(self, name: str) -> str:
        return name

    def open(self, device: str) -> Any:
        if self.opened and self.settings.device == device:
            return self.opened.pop()
        loaded = _loaded(self.settings)
        if loaded.state_sha256 != self.loaded.state_sha256:
            raise NetError(
                f"--module {self.settings.module}: the factory made other parameters when called again, "
                "as where they are drawn without a seed: give --weights, or seed it (torch.manual_seed)"
            )
        wrapped = _wrapped(self.settings, loaded, self.preprocess, self.size, device)
        wrapped.changes = list(self.changes)
        return wrapped

    def key(self) -> dict[str, Any]:
        loaded = self.loaded
        return {
            "module": self.settings.module,
            "module_class": loaded.class_name,
            "module_file_sha256": loaded.file_sha256,
            "weights_sha256": loaded.weights_sha256,
            "state_sha256": loaded.state_sha256,
            **({"scores": self.settings.score} if self.settings.score is not None else {}),
        }

    def about(self) -> dict[str, Any]:
        loaded = self.loaded
        return {
            "name": None,
            "module": self.settings.module,
            "module_class": loaded.class_name,
            "module_file": loaded.file,
            "module_file_sha256": loaded.file_sha256,
            "weights": self.settings.weights,
            "weights_sha256": loaded.weights_sha256,
            "state_sha256": loaded.state_sha256,
        }


def _check(settings: Any) -> None:
    """UsageError for settings that are of Caffe's nets."""
    for name, option in _OF_CAFFE.items():
        if getattr(settings, name):
            raise UsageError(f"{option} is of Caffe's nets: it does not go with --module {settings.module}")
    if settings.precision != "float32":
        raise UsageError(
            f"--precision {settings.precision} is of Caffe's nets: a module's arithmetic is its own code's"
        )
    if settings.engine == "bvlc":
        raise UsageError(f"--engine bvlc runs Caffe's nets: --module {settings.module} is PyTorch's")
    engines.load_caffe("torch", settings.device, deterministic=settings.deterministic)


def _sentence(settings: Any, loaded: LoadedModule) -> str:
    parameters = sum(one.numel() for one in loaded.module.parameters())
    where = f" of {loaded.file}" if loaded.file is not None else ""
    weights = f"weights of {settings.weights}" if settings.weights else "weights as the factory made them"
    size = f"{parameters:,} parameters"
    return f"PyTorch module {settings.module}{where}: a {loaded.class_name} of {size}, {weights}"


def _loaded(settings: Any) -> LoadedModule:
    return load_module(
        settings.module, settings.weights, allow_missing_weights=settings.allow_missing_weights
    )


def _tried(settings: Any, loaded: LoadedModule, size: Size) -> tuple[Any, Preprocess, Size]:
    """The module wrapped, how it is fed, the size that it was tried at: on colour images, else grey ones."""
    errors: list[NetError] = []
    for channels in (3, 1):
        try:
            feed = module_preprocess(settings, channels)
        except UsageError:
            if errors:  # a mean of three values: images are colour
                break
            raise
        tried = feed.canvas_size(size)
        try:
            wrapped = _wrapped(settings, loaded, feed, tried, settings.device)
        except OutOfMemoryError:
            raise
        except NetError as error:
            errors.append(error)
            continue
        return wrapped, feed, tried
    said = errors[0] if len(errors) == 1 else f"{errors[0]}; on grey images: {errors[1]}"
    raise NetError(f"--module {settings.module}: {said}. If it wants images of one size: --resize W,H")


def _wrapped(settings: Any, loaded: LoadedModule, feed: Preprocess, size: Size, device: str) -> Any:
    from caffe_gp.engines.module import wrap_module

    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (1, size[1], size[0], feed.channels)).astype(np.uint8)
    wrapped = wrap_module(
        loaded.module.to(device),
        Preprocess(**{**vars(feed), "resize": None}).batch(pixels),
        blob=None if settings.blob == "data" else settings.blob,
        score=settings.score,
        features=getattr(settings, "features", ()),
    )
    if loaded.missing:
        shown = ", ".join(loaded.missing[:5])
        wrapped.warnings.append(
            f"{len(loaded.missing)} keys keep the factory's values, the weights lack them: {shown}"
        )
    return wrapped
