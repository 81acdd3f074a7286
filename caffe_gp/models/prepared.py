"""The prototxt of a net prepared for guided perturbations, as text: for people, and for other users of Caffe.

    print(prepared_text("fcn-8s"))              # a model of the zoo
    print(prepared_text("train_val.prototxt", score="fc8"))

The tools prepare nets in memory; this is what they load.
"""

from __future__ import annotations

import os
from typing import Any

from caffe_gp import engines, proto
from caffe_gp.errors import PrototxtError, did_you_mean
from caffe_gp.models import zoo


def prepared_text(
    source: str | os.PathLike,
    caffemodel: str | os.PathLike | None = None,
    *,
    score: str | None = None,
    **options: Any,
) -> str:
    """The text; its comments name the source and what was done, a sentence a line.

    source      a model's name, or the path of a prototxt: deploy, train/val or as it was released
    caffemodel  weights, which tell how many channels the images of a data layer have
    score, options   as ``engines.prepare_net`` takes them; a model has a ``score`` of its own
    Raises PrototxtError for what is neither, and what ``engines.prepare_net`` raises.
    """
    path = title = os.fspath(source)
    if path in zoo.named():
        model = zoo.get(path)
        path, title, score = str(model.prototxt()), model.title, score or model.score
    elif not os.path.exists(path):
        hint = did_you_mean(path, zoo.named())
        raise PrototxtError(f"{path}: no such file, and no model of this name{hint}")
    prepared = engines.prepare_net(path, caffemodel, score=score, **options)
    lines = [f"{title}, prepared for guided perturbations.", *prepared.changes]
    return "".join(f"# {line}\n" for line in lines) + proto.to_text(prepared.net)
