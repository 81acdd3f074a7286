"""Edits of a net description before it is loaded: from any prototxt to a net ready for guided perturbations.

    prepared = surgery.prepare(proto.read_net_param("train_val.prototxt"))
    prepared.net        # the new NetParameter; the file and the argument are untouched
    prepared.changes    # what was done, one sentence each

Parameter layers keep their names and blobs, so the same caffemodel loads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp import proto
from caffe_gp.errors import NetError
from caffe_gp.images.placing import Line, Placing, is_picture_of, words
from caffe_gp.proto import messages as pb
from caffe_gp.surgery import crops
from caffe_gp.surgery.gradient import add_probe, add_softmax, clean_layers
from caffe_gp.surgery.inputs import Fed, add_input, check_bottoms
from caffe_gp.surgery.layers import blob_count, listed
from caffe_gp.surgery.positions import position_map
from caffe_gp.surgery.scores import find_score
from caffe_gp.surgery.shapes import blob_shapes
from caffe_gp.surgery.sizes import fixed_by
from caffe_gp.surgery.stock import make_stock
from caffe_gp.surgery.transforms import Transform, transform_of


@dataclass
class Prepared:
    """A net ready for guided perturbations.

    net      the edited NetParameter (TEST phase)
    data     its image input blob
    score    its class-score blob
    prob     the blob with the Softmax of the scores
    probe    the layer that keeps the gradient flowing down to the input
    channels_are_guess   whether nothing told the number of the input's channels
    changes  what was done to the original, one sentence each
    others   values of the other inputs that the score needs (see ``inputs.Fed``)
    placing  where positions of the input lie in the scores; None where that does not follow from the layers
    fixed    the layer that takes images of the net's own size only, and why; '' where none does
    transform   what the data layer that was replaced does to its images; None where nothing says it
    parts    layers that have the last blobs of another layer of a weights file, and that layer's name
    """

    net: Any
    data: str
    score: str
    prob: str
    probe: str
    channels_are_guess: bool
    changes: list[str] = field(default_factory=list)
    others: dict[str, np.ndarray] = field(default_factory=dict)
    transform: Transform | None = None
    placing: Placing = None
    fixed: str = ""
    parts: dict[str, str] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        # Messages of a private descriptor pool cannot be pickled; their bytes can.
        rest = {name: value for name, value in vars(self).items() if name != "net"}
        return _restored, (self.net.SerializePartialToString(), rest)

    @property
    def input_shape(self) -> Any:
        """The BlobShape of the image input, in the net."""
        return _shape_of_input(self.net, self.data)


def _shape_of_input(net: Any, blob: str) -> Any:
    layer = next(layer for layer in net.layer if blob in layer.top)
    return layer.input_param.shape[list(layer.top).index(blob)]


def _restored(net: bytes, rest: dict[str, Any]) -> Prepared:
    """A pickled ``Prepared``."""
    return Prepared(net=pb.NetParameter.FromString(net), **rest)


def prepare(
    param: Any,
    *,
    score: str | None = None,
    input_shape: Sequence[int | None] | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
    inputs: Mapping[str, Any] | None = None,
    engine: str = "torch",
) -> Prepared:
    """Make a net ready for GP from any deploy, train/val or released description.

    param        an upgraded NetParameter (``proto.read_net_param``); not modified
    score        the class-score blob; found if not given, where it is certain (see ``scores.find_score``):
                 the bottom of Softmax or SoftmaxWithLoss, else of ArgMax, (Seg)Accuracy or MatWrite, else
                 the only output
    input_shape  shape of the image input, (N, C, H, W); None, for all or for one of them, is the net's own,
                 else what its data layer tells, else 1 x 3 x 500 x 500. Batch and spatial size may change
                 later by reshaping, where the net allows it.
    stages, level   of the net's state, for layers with include or exclude rules
    inputs       values of inputs that the score needs besides the image, by blob: an array of one image's
                 shape, or constants, one number or one a channel
    engine       'torch' or 'bvlc', for which layers of the forks are replaced by our Python layers

    Done, in this order: TEST phase; score found; everything that the score does not need is dropped (data,
    loss, accuracy, Silence, ArgMax, MatWrite, side heads); Input layer; names made unique; old Crop layers
    get the offset that their fork computed; Softmax ``prob`` with loss_weight 1; ``lr_mult: 0`` everywhere
    and the probe, a Bias of zeros with ``lr_mult: 1`` in place on the input. Caffe then computes the
    gradient of every blob and of no weight. For 'bvlc', layers of the forks are replaced.

    Raises NetError when no score blob can be told (the message lists candidates), when the score needs a
    further input, like a label, whose values are not given, for a bottom that nothing makes, or when
    ``engine`` lacks a layer and we have none; DataError for values that do not fit their input.
    """
    changes: list[str] = []
    original = _in_state(param, level, stages, changes)
    check_bottoms(original, param)
    score, reason = find_score(original, param, score)
    changes.append(f"class scores: blob '{score}' ({reason})")
    net = _needed_for(original, score, changes)
    fed = add_input(net, param, input_shape, inputs or {}, changes)
    clean_layers(net, changes)
    _make_names_unique(net, changes)
    crops.align_legacy_crops(net, changes)
    fixed = _fixed(net, fed)
    placing = _placing(net, fed.data, score, changes)
    prob = add_softmax(net, original, score, changes)
    probe = add_probe(net, fed.data, changes)
    parts = make_stock(net, changes) if engine == "bvlc" else {}
    return Prepared(
        net,
        fed.data,
        score,
        prob,
        probe,
        fed.channels_are_guess,
        changes,
        fed.others,
        transform_of(fed.source),
        placing,
        fixed,
        parts,
    )


def _fixed(net: Any, fed: Fed) -> str:
    """What keeps the net to its own size; NetError if the input was given another."""
    if fed.own_size is None:
        return ""
    fixed = fixed_by(net, fed.data, fed.own_size)
    height, width = _shape_of_input(net, fed.data).dim[2:]
    if fixed and (height, width) != fed.own_size:
        own = f"{fed.own_size[1]},{fed.own_size[0]}"
        raise NetError(
            f"the net's own input is {fed.own_size[1]} x {fed.own_size[0]}, and {fixed}, so images of "
            f"{width} x {height} do not do: --resize {own}, or --pad-to {own} for smaller ones"
        )
    return fixed


def _placing(net: Any, data: str, score: str, changes: list[str]) -> Placing:
    """Where the scores lie over the input; adds a sentence where they are of another size."""
    axes = position_map(net, data, score)
    placing = None
    if axes is not None:
        placing = Line(*map(float, axes[0])), Line(*map(float, axes[1]))
    shapes = blob_shapes(net)
    scores, image = ([n for n in shapes.get(blob, ())[2:] if n is not None] for blob in (score, data))
    if len(scores) == len(image) == 2 and (placing is not None or is_picture_of(scores, image)):
        changes.extend(filter(None, [words(scores, image, placing)]))
    return placing


def _in_state(param: Any, level: int, stages: Sequence[str], changes: list[str]) -> Any:
    """The layers of the TEST phase, and of the level and stages."""
    original = proto.filter_net(param, pb.TEST, level, stages)
    dropped = [
        f"{layer.name} ({layer.type})"
        for layer in param.layer
        if not proto.layer_is_included(layer, original.state)
    ]
    if dropped:
        changes.append(
            f"kept {_state(original.state)}: dropped {listed(dropped)}{_other_stages(param, original.state)}"
        )
    return original


# Whatever tops their descriptions claim: a net that is looked at writes no files.
_WRITERS = ("HDF5Output", "MatWrite")


def _needed_for(net: Any, score: str, changes: list[str]) -> Any:
    """The layers that ``score`` is computed from, walked from the end so that in-place layers count."""
    needed: set[str] = {score}
    kept, dropped = [], []
    for layer in reversed(net.layer):
        turns_into_probabilities = layer.type == "Softmax" and score in layer.bottom
        if needed.intersection(layer.top) and not turns_into_probabilities and layer.type not in _WRITERS:
            needed.update(layer.bottom)
            kept.append(layer)
        else:
            dropped.append(f"{layer.name} ({layer.type})")
    if dropped:
        changes.append(f"dropped what '{score}' does not need: {listed(reversed(dropped))}")
    result = pb.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    result.layer.extend(reversed(kept))
    return result


def _make_names_unique(net: Any, changes: list[str]) -> None:
    """Rename later layers of one name that hold no parameters (weights are found by name)."""
    used = Counter(layer.name for layer in net.layer)
    seen: Counter = Counter()
    numbers: Counter = Counter()  # the last that was given, by name
    for layer in net.layer:
        seen[layer.name] += 1
        if seen[layer.name] == 1 or blob_count(layer):
            continue
        number = max(seen[layer.name], numbers[layer.name] + 1)
        while used[f"{layer.name}_{number}"]:
            number += 1
        numbers[layer.name] = number
        new = f"{layer.name}_{number}"
        makes = f" that makes '{layer.top[0]}'" if layer.top else ""
        changes.append(f"renamed the layer '{layer.name}'{makes} to '{new}': names must differ")
        used[new] += 1
        layer.name = new


def _state(state: Any) -> str:
    """A net's state in words."""
    stages = f", stages {listed(state.stage)}" if len(state.stage) else ""
    level = f", level {state.level}" if state.level else ""
    return f"the TEST phase{stages}{level}"


def _other_stages(param: Any, state: Any) -> str:
    """What to do about stages that the layers' rules name and that were not given."""
    rules = [rule for layer in param.layer for rule in (*layer.include, *layer.exclude)]
    named = dict.fromkeys(name for rule in rules for name in (*rule.stage, *rule.not_stage))
    others = [name for name in named if name not in state.stage]
    return f" (the file has stages: {', '.join(others)}; --stage NAME chooses one)" if others else ""
