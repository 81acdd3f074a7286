"""The nets of the paper and their family: what each is called, how it is fed and what its scores mean.

    model = zoo.get("fcn-32s")
    model.net()           # its deploy NetParameter
    model.prototxt()      # the file written from it
    model.preprocess, model.score, model.classes, model.eps
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from caffe_gp.errors import CaffeGPError

ROOT = Path(__file__).resolve().parent.parent.parent
PROTOTXT = ROOT / "prototxt"

# Mean grey levels in the order blue, green, red.
FCN_MEAN = (104.00698793, 116.66876762, 122.67891434)
TVG_MEAN = (103.939, 116.779, 123.68)
DEEPLAB_MEAN = (104.008, 116.669, 122.675)


@dataclass(frozen=True)
class Feed:
    """How an image becomes the blob ``data``; the values are those of ``caffe_gp.gp.preprocess.Preprocess``.

    mean           subtracted from the grey levels 0..255, one a channel in ``channel_order`` or one for all
    scale          factor after the subtraction
    channel_order  'bgr' or 'rgb'
    resize         (W, H) to stretch to, or None for the image's own size
    pad_to         (W, H) to fill up to with the mean, bottom and right; label maps are cropped back
    """

    mean: tuple[float, ...] = FCN_MEAN
    scale: float = 1.0
    channel_order: str = "bgr"
    resize: tuple[int, int] | None = None
    pad_to: tuple[int, int] | None = None


@dataclass(frozen=True)
class Model:
    """One net.

    name        as given to ``--model``; also its folder in prototxt/
    title       for people
    net         writes its deploy NetParameter; layer, blob and parameter names are the released caffemodel's
    score       blob of class scores
    classes     names of the scores' channels; label i is classes[i]
    parameters  number of float32 values, shared ones counted once
    weights     file of the manifest that holds the released weights; None where nobody released any
    eps         step at ``data``, in units of that blob; None where it has to be tuned
    eps_source  where eps comes from
    feed        how an image becomes ``data``
    """

    name: str
    title: str
    net: Callable[[], Any]
    score: str
    classes: tuple[str, ...]
    parameters: int
    weights: str | None
    eps: float | None
    eps_source: str
    feed: Feed = field(default_factory=Feed)

    def prototxt(self, kind: str = "deploy") -> Path:
        """The file written from ``net``: 'deploy', or 'gp', which is prepared for guided perturbations."""
        return PROTOTXT / self.name / f"{kind}.prototxt"


MODELS: dict[str, Model] = {}


def get(name: str) -> Model:
    """The model of this name; CaffeGPError with the nearest names and the whole list otherwise."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise CaffeGPError(f"unknown model '{name}'{hint} (known: {', '.join(MODELS)})")
    return MODELS[name]
