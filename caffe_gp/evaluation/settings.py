"""What every run is told about its net, how images are fed to it, and the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from caffe_gp import engines, provenance
from caffe_gp.errors import CaffeGPError
from caffe_gp.files.hashes import sha256_of
from caffe_gp.gp import encodings
from caffe_gp.images.preprocess import FCN_MEAN, Preprocess, Size
from caffe_gp.models import weights, zoo
from caffe_gp.surgery.prepare import Prepared

Given = TypeVar("Given", bound="NetSettings")


def required() -> Any:
    """Default of a field that has to be given: settings that inherit others must all have defaults."""
    raise TypeError("settings without a default are missing: see the class")


@dataclass
class NetSettings:
    """The names are those of the command line options; ``model`` only names the net in the results.

    score       blob of class scores, None: found
    mean        None: FCN's for colour, 0 for grey nets
    resize, pad_to   see ``Preprocess``
    batch_size  images of one canvas size at once
    command     the command line, for the results
    """

    prototxt: str
    caffemodel: str
    eps: list[float]
    model: str | None = None
    score: str | None = None
    mean: tuple[float, ...] | None = None
    scale: float = 1.0
    channel_order: str = "bgr"
    resize: int | Size | None = None
    pad_to: Size | None = None
    blob: str = "data"
    encoding: str = "onehot"
    iterations: int = 1
    inject: str | None = None
    seed: int = 0
    engine: str = "auto"
    device: str = "cpu"
    batch_size: int = 1
    quiet: bool = False
    command: str = ""

    @classmethod
    def of_model(cls: type[Given], name: str, **given: Any) -> Given:
        """The settings for a net of the zoo: what is not ``given`` (or None) is the model's or the default.

        Raises CaffeGPError for an unknown name, or when eps (or caffemodel) is needed because the model has
        none; WeightsError when the weights are neither given nor in ``places.models_folder()``.
        """
        model = zoo.get(name)
        given = {key: value for key, value in given.items() if value is not None}
        if "eps" not in given:
            if model.eps is None:
                raise CaffeGPError(f"model '{name}' has no eps of its own ({model.eps_source}): give eps")
            given["eps"] = [model.eps]
        if "caffemodel" not in given:
            given["caffemodel"] = str(weights.require(name))
        own = {"model": name, "prototxt": str(model.prototxt()), "score": model.score, **model.feed_options()}
        return cls(**{**own, **given})

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """The canvas' shape where it is fixed, so that a net of one size is built for it at once."""
        size = self.pad_to or (self.resize if isinstance(self.resize, tuple) else None)
        return None if size is None else (1, None, size[1], size[0])

    @property
    def eps_source(self) -> str:
        """Where eps comes from: the model's own words, or 'given'."""
        model = zoo.get(self.model) if self.model is not None else None
        return model.eps_source if model is not None and self.eps == [model.eps] else "given"

    def check_eps(self) -> None:
        """CaffeGPError if two steps would get one name in files and tables."""
        if not self.eps or len({f"{eps:g}" for eps in self.eps}) < len(self.eps):
            raise CaffeGPError(
                "results are named after eps in six digits, so there must be values, and values must differ "
                f"in them: {self.eps}"
            )

    def class_names(self, classes: int) -> list[str] | None:
        """The model's class names; None without a model, or where its prototxt is another net's."""
        names = zoo.get(self.model).classes if self.model is not None else ()
        return list(names) if len(names) == classes else None

    def prepare(self) -> Prepared:
        """The net's description as it will be loaded, without loading it."""
        return engines.prepare_net(
            self.prototxt,
            self.caffemodel,
            engine=self.engine,
            score=self.score,
            input_shape=self.input_shape,
        )

    def preprocess(self, prepared: Prepared) -> Preprocess:
        """How images are fed to the net. CaffeGPError if its input is no image."""
        shape = tuple(prepared.input_shape.dim)
        if len(shape) != 4:
            raise CaffeGPError(
                f"the input blob '{prepared.data}' has shape {shape}; images need (N, C, H, W)"
            )
        mean = self.mean
        if mean is None:
            mean = FCN_MEAN if shape[1] == 3 else (0.0,)
        return Preprocess(mean, self.scale, self.channel_order, shape[1], self.resize, self.pad_to)

    def method(self, prepared: Prepared) -> dict[str, Any]:
        """The method's settings as they will be used, for results."""
        made = {top for layer in prepared.net.layer for top in layer.top}
        return {
            "eps": [float(eps) for eps in self.eps],
            "blob": prepared.data if self.blob == "data" and "data" not in made else self.blob,
            "score": prepared.score,
            "encoding": self.encoding,
            "inject": encodings.check_choice(self.encoding, self.inject),
            "iterations": self.iterations,
            "seed": self.seed,
        }

    def origin(self, prepared: Prepared) -> dict[str, Any]:
        """What a result must say about its net, engine, method and preprocessing."""
        return {
            "code_version": provenance.code_version(),
            "command": self.command,
            "model": {
                "name": self.model,
                "prototxt": self.prototxt,
                "prototxt_sha256": sha256_of(self.prototxt),
                "caffemodel": self.caffemodel,
                "caffemodel_sha256": sha256_of(self.caffemodel),
                "surgery": prepared.changes,
                "eps_source": self.eps_source,
            },
            "engine": engines.describe(self.engine, self.device),
            "method": self.method(prepared),
            "preprocessing": self.preprocess(prepared).describe(),
        }
