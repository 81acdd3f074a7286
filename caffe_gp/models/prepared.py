"""The prototxt of a net prepared for guided perturbations, as text: for people, and for other users of Caffe.

    print(prepared_text("fcn-8s"))              # a model of the zoo
    print(prepared_text("train_val.prototxt", score="fc8"))

The tools prepare nets in memory; this is what they load.
"""

from __future__ import annotations

import os
from typing import Sequence

from caffe_gp import proto
from caffe_gp.errors import CaffeGPError, did_you_mean
from caffe_gp.models import zoo
from caffe_gp.surgery.prepare import prepare


def prepared_text(
    source: str | os.PathLike,
    *,
    score: str | None = None,
    input_shape: Sequence[int | None] | None = None,
    engine: str = "torch",
) -> str:
    """The text; its comments name the source and what was done, a sentence a line.

    source   a model's name, or the path of a prototxt: deploy, train/val or as it was released
    score, input_shape, engine   as ``surgery.prepare`` takes them; ``score`` is the model's own by default
    Raises CaffeGPError for what is neither, PrototxtError and NetError as ``proto.read_net_param`` and
    ``surgery.prepare`` do.
    """
    source = os.fspath(source)
    if source in zoo.MODELS:
        model = zoo.get(source)
        title, param, score = model.title, model.net(), score or model.score
    elif os.path.isfile(source):
        title, param = os.path.basename(source), proto.read_net_param(source)
    else:
        hint = did_you_mean(source, zoo.MODELS)
        raise CaffeGPError(
            f"'{source}' is neither a file nor a model{hint} (models: {', '.join(zoo.MODELS)})"
        )
    prepared = prepare(param, score=score, input_shape=input_shape, engine=engine)
    lines = [f"{title}, prepared for guided perturbations.", *prepared.changes]
    return "".join(f"# {line}\n" for line in lines) + proto.to_text(prepared.net)
