"""A net of the zoo, loaded and ready, by its name: what ``--model`` gives the tools.

For example:

    from caffe_gp.gp import GuidedPerturbation

    digits = load_model("digits")
    canvas = digits.preprocess.load("photo.png")
    result = GuidedPerturbation(digits.net)(canvas.data[None], [digits.eps])
    labels = digits.preprocess.labels_to_image(result.labels[0][0], canvas)
    print({digits.classes[label] for label in labels.flat})
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from caffe_gp import engines
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.models import weights, zoo


@dataclass(frozen=True, repr=False)
class LoadedModel:
    """A loaded net of the zoo with what belongs to it.

    net         ready for ``GuidedPerturbation(net)``; ``net.net`` is the engine's ``caffe.Net``
    preprocess  how an image becomes its input
    eps         step at the input, in units of that blob; None where nothing is known that would suit
    classes     label i is classes[i]
    model       its entry in the zoo: title, where eps comes from, ...
    """

    net: engines.GPNet
    preprocess: Preprocess
    eps: float | None
    classes: tuple[str, ...]
    model: zoo.Model

    def __repr__(self) -> str:
        eps = "no eps" if self.eps is None else f"eps {self.eps:g}"
        return f"<LoadedModel {self.model.name}: {len(self.classes)} classes, {eps}; {self.net!r}>"

    def _repr_html_(self) -> str:
        return self.net._repr_html_()


def load_model(
    name: str,
    *,
    caffemodel: str | os.PathLike | None = None,
    engine: str = "auto",
    device: str = "cpu",
    precision: str = "float32",
) -> LoadedModel:
    """Load a net of the zoo by its name.

    caffemodel      weights in place of the released ones, or of those that were trained here
    engine, device, precision   as ``engines.load_net`` takes them
    Raises CaffeGPError for an unknown name, WeightsError with how to get weights that are not there, and what
    ``engines.load_net`` raises.
    """
    model = zoo.get(name)
    path = os.fspath(weights.require(name) if caffemodel is None else caffemodel)
    net = engines.load_net(
        str(model.prototxt()), path, engine=engine, device=device, precision=precision, score=model.score
    )
    return LoadedModel(net, model.feed, model.eps, model.classes, model)
