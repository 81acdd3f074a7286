"""Edits of a net description before it is loaded: from any prototxt to a net ready for guided perturbations.

    prepared = surgery.prepare(proto.read_net_param("train_val.prototxt"))
    prepared.net        # the new NetParameter; the file and the argument are untouched
    prepared.changes    # what was done, one sentence each

Parameter layers keep their names and blobs, so the same caffemodel loads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Iterable, Sequence

from caffe_gp import proto
from caffe_gp.errors import NetError, did_you_mean
from caffe_gp.proto import messages as pb
from caffe_gp.surgery import crops, forks

DEFAULT_INPUT_SHAPE = (1, 3, 500, 500)

# Their bottom 0 holds the class scores, in the order in which they are believed.
_SCORE_READERS = ("Softmax", "SoftmaxWithLoss", "ArgMax", "SegAccuracy", "Accuracy", "MatWrite")
_DENSE_SCORE_MAKERS = (
    "Deconvolution",
    "Crop",
    "Interp",
    "Convolution",
    "Eltwise",
    "InnerProduct",
    "MultiStageMeanfield",
    "Upsample",
)


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
    """

    net: Any
    data: str
    score: str
    prob: str
    probe: str
    channels_are_guess: bool
    changes: list[str] = field(default_factory=list)

    def __reduce__(self) -> tuple[Any, ...]:
        # Messages of a private descriptor pool cannot be pickled; their bytes can.
        rest = {name: value for name, value in vars(self).items() if name != "net"}
        return _restored, (self.net.SerializePartialToString(), rest)

    @property
    def input_shape(self) -> Any:
        """The BlobShape of the image input, in the net."""
        layer = next(layer for layer in self.net.layer if self.data in layer.top)
        return layer.input_param.shape[0]


def _restored(net: bytes, rest: dict[str, Any]) -> Prepared:
    """A pickled ``Prepared``."""
    return Prepared(net=pb.NetParameter.FromString(net), **rest)


def prepare(
    param: Any,
    *,
    score: str | None = None,
    input_shape: Sequence[int | None] | None = None,
    engine: str = "torch",
) -> Prepared:
    """Make a net ready for GP from any deploy, train/val or released description.

    param        an upgraded NetParameter (``proto.read_net_param``); not modified
    score        the class-score blob; found if not given: the bottom of the last Softmax or
                 SoftmaxWithLoss, else of ArgMax, (Seg)Accuracy or MatWrite, else the only dense output
    input_shape  shape of the image input, (N, C, H, W); None, for all or for one of them, is the net's own,
                 else what its data layer tells, else 1 x 3 x 500 x 500. Batch and spatial size may change
                 later by reshaping, where the net allows it.
    engine       'torch' or 'bvlc', for which layers of the forks are replaced by our Python layers

    Done, in this order: TEST phase; score found; everything that the score does not need is dropped (data,
    loss, accuracy, Silence, ArgMax, MatWrite, side heads); Input layer; names made unique; old Crop layers
    get the offset that their fork computed; Softmax ``prob`` with loss_weight 1; ``lr_mult: 0`` everywhere
    and the probe, a Bias of zeros with ``lr_mult: 1`` in place on the input. Caffe then computes the
    gradient of every blob and of no weight. For 'bvlc', layers of the forks are replaced.

    Raises NetError when no score blob can be told (the message lists candidates), when the score needs a
    label, or when ``engine`` lacks a layer and we have none.
    """
    original = proto.filter_net(param, pb.TEST)
    changes: list[str] = []
    dropped = [
        layer.name for layer in param.layer if layer.name not in {kept.name for kept in original.layer}
    ]
    if dropped:
        changes.append(f"kept the TEST phase: dropped {_listed(dropped)}")
    score, reason = _find_score(original, param, score)
    changes.append(f"class scores: blob '{score}' ({reason})")
    net = _needed_for(original, score, changes)
    data, channels_are_guess = _add_input(net, param, input_shape, changes)
    _clean_layers(net, changes)
    _make_names_unique(net, changes)
    crops.align_legacy_crops(net, changes)
    prob = _add_softmax(net, original, score, changes)
    probe = _add_probe(net, data, changes)
    if engine == "bvlc":
        forks.replace(net, changes)
    return Prepared(net, data, score, prob, probe, channels_are_guess, changes)


# ---- the score blob


def _find_score(net: Any, unfiltered: Any, wanted: str | None) -> tuple[str, str]:
    made = list(dict.fromkeys(top for layer in net.layer for top in layer.top))
    if wanted is not None:
        if wanted not in made:
            raise NetError(
                f"net '{net.name}' has no blob '{wanted}' to take scores from{did_you_mean(wanted, made)} "
                f"(candidates: {', '.join(top for top, _ in _outputs(net)) or ', '.join(made)})"
            )
        return wanted, "as asked"
    silenced = {bottom for layer in net.layer if layer.type == "Silence" for bottom in layer.bottom}
    made_by_argmax = {top for layer in net.layer if layer.type == "ArgMax" for top in layer.top}
    for reader_type in _SCORE_READERS:
        # The loss of a train/val file may exist in its TRAIN phase only.
        for source in (net, unfiltered):
            readers = [
                layer
                for layer in source.layer
                if layer.type == reader_type
                and layer.bottom
                and layer.bottom[0] in made
                and layer.bottom[0] not in made_by_argmax
                and not silenced.intersection(layer.top)
            ]
            if readers:
                chosen = readers[-1]
                others = sorted({layer.bottom[0] for layer in readers} - {chosen.bottom[0]})
                reason = f"the bottom of {reader_type} layer '{chosen.name}'"
                if others:
                    reason += f", the last of its kind; others read {', '.join(others)}"
                return chosen.bottom[0], reason
    outputs = _outputs(net)
    candidates = [top for top, maker in outputs if maker in _DENSE_SCORE_MAKERS] if len(outputs) > 1 else []
    candidates = candidates or [top for top, _ in outputs]
    if len(candidates) == 1:
        return candidates[0], "the only output"
    raise NetError(
        f"net '{net.name}': which blob holds the class scores? There is no Softmax and "
        f"{len(candidates)} candidate(s): {', '.join(candidates) or 'none'}; name it with score="
    )


def _outputs(net: Any) -> list[tuple[str, str]]:
    """(blob, type of the layer that last wrote it) of the blobs that are computed and that no layer reads."""
    unread: dict[str, str] = {}
    for layer in net.layer:
        for bottom in layer.bottom:
            unread.pop(bottom, None)
        if layer.bottom:
            unread.update((top, layer.type) for top in layer.top)
    return list(unread.items())


# ---- dropping and adding layers


def _needed_for(net: Any, score: str, changes: list[str]) -> Any:
    """The layers that ``score`` is computed from, walked from the end so that in-place layers count."""
    needed: set[str] = {score}
    kept, dropped = [], []
    for layer in reversed(net.layer):
        turns_into_probabilities = layer.type == "Softmax" and score in layer.bottom
        if needed.intersection(layer.top) and not turns_into_probabilities:
            needed.update(layer.bottom)
            kept.append(layer)
        else:
            dropped.append(f"{layer.name} ({layer.type})")
    if dropped:
        changes.append(f"dropped what '{score}' does not need: {_listed(reversed(dropped))}")
    result = pb.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    result.layer.extend(reversed(kept))
    return result


def _add_input(
    net: Any, unfiltered: Any, shape: Sequence[int | None] | None, changes: list[str]
) -> tuple[str, bool]:
    """Make an Input layer bring the images; returns the image blob and whether its channels are a guess."""
    read = {bottom for layer in net.layer for bottom in layer.bottom}
    for layer in net.layer:
        if layer.type == "Input":
            _keep_tops(layer, read)
    sources = _image_sources(net, unfiltered, read)
    if not sources:
        layer = next((layer for layer in net.layer if layer.type == "Input" and len(layer.top)), None)
        if layer is None:
            raise NetError(f"net '{net.name}' has no data or Input layer that the scores depend on")
        own = tuple(layer.input_param.shape[0].dim)
        dims = _merged(own, shape)
        if dims != own:
            layer.input_param.shape[0].ClearField("dim")
            layer.input_param.shape[0].dim.extend(dims)
            changes.append(f"input '{layer.top[0]}' reshaped to {_by(dims)}")
        return layer.top[0], False
    if len(sources) > 1:
        found = ", ".join(f"'{top}' of layer '{layer.name}'" for layer, top in sources)
        users = [f"'{layer.name}'" for layer in net.layer if sources[-1][1] in layer.bottom]
        raise NetError(
            f"the scores need {len(sources)} blobs of data layers: {found} (read by layer {users[0]}); a net "
            "for GP has one input, the image: give score= a blob that needs nothing else"
        )
    source, top = sources[0]
    known = _merged(_data_shape(source), shape)
    fixed = [layer.name for layer in net.layer if layer.type == "InnerProduct"]
    if fixed and None in known[2:]:
        raise NetError(
            f"layer '{fixed[0]}' (InnerProduct) needs images of one size, which data layer '{source.name}' "
            f"({source.type}) does not tell: give input_shape=(None, None, H, W) (caffe_gp run: --resize W,H)"
        )
    dims = tuple(default if n is None else n for n, default in zip(known, DEFAULT_INPUT_SHAPE))
    changes.append(
        f"replaced data layer '{source.name}' ({source.type}) by Input '{top}' of shape {_by(dims)}"
    )
    others = [layer for layer in net.layer if top not in layer.top or layer.bottom]
    del net.layer[:]
    net.layer.add(name=_free_name_among(others, "input"), type="Input", top=[top]).input_param.shape.add(
        dim=dims
    )
    net.layer.extend(others)
    return top, known[1] is None


def _merged(own: Sequence[int | None], wanted: Sequence[int | None] | None) -> tuple[int | None, ...]:
    """``wanted`` with its gaps (None) filled from ``own``."""
    if wanted is None:
        return tuple(own)
    if len(wanted) != len(own) and None in wanted:
        raise NetError(f"input shape {tuple(wanted)}: the net's input has {len(own)} axes: {tuple(own)}")
    return tuple(own[i] if n is None else n for i, n in enumerate(wanted))


def _keep_tops(layer: Any, read: set[str]) -> None:
    """Drop the blobs of an Input layer that nobody reads (labels), each with its shape."""
    shapes = list(layer.input_param.shape) or [pb.BlobShape(dim=DEFAULT_INPUT_SHAPE)]
    if len(shapes) == 1:
        shapes *= len(layer.top)
    kept = [(top, shape) for top, shape in zip(layer.top, shapes) if top in read]
    del layer.top[:], layer.input_param.shape[:]
    layer.top.extend(top for top, _ in kept)
    layer.input_param.shape.extend(shape for _, shape in kept)


def _image_sources(net: Any, unfiltered: Any, read: set[str]) -> list[tuple[Any, str]]:
    """(layer, top) of every blob that a data layer would bring to the kept layers."""
    own = [
        layer
        for layer in net.layer
        if not layer.bottom and layer.type not in ("Input", "Parameter", "DummyData")
    ]
    if not own and not any(layer.type == "Input" for layer in net.layer):
        own = [layer for layer in net.layer if layer.type == "DummyData"]
    sources = [(layer, top) for layer in own for top in layer.top if top in read]
    # The data layer may exist in the TRAIN phase only, or be left out of the file altogether.
    made = {top for layer in net.layer for top in layer.top}
    for top in dict.fromkeys(bottom for layer in net.layer for bottom in layer.bottom if bottom not in made):
        maker = next((layer for layer in unfiltered.layer if top in layer.top), None)
        sources.append((maker or pb.LayerParameter(name="data", type="not in the file", top=[top]), top))
    return sources


def _data_shape(layer: Any) -> tuple[int | None, ...]:
    """Shape of the images that a data layer brings, None where its parameters do not tell; batch 1."""
    if layer.type == "DummyData" and len(layer.dummy_data_param.shape):
        return tuple(layer.dummy_data_param.shape[0].dim)
    channels = height = width = None
    memory, image, crop = layer.memory_data_param, layer.image_data_param, layer.transform_param.crop_size
    if memory.channels and memory.height and memory.width:
        channels, height, width = memory.channels, memory.height, memory.width
    for param in (image, layer.dense_image_data_param):
        if param.new_height and param.new_width:
            height, width = param.new_height, param.new_width
    if layer.window_data_param.crop_size:
        height = width = layer.window_data_param.crop_size
    if crop:
        height = width = crop
    return 1, channels, height, width


# Fields of a layer that only training or a phase choice needs and that would stand in the way.
_TRAINING_FIELDS = ("loss_weight", "include", "exclude", "phase", "propagate_down")


def _clean_layers(net: Any, changes: list[str]) -> None:
    """Make the kept layers backpropagate through and through, on a CPU build too."""
    if net.force_backward:
        net.ClearField("force_backward")
        changes.append(
            "removed force_backward, which would compute every weight gradient; the probe replaces it"
        )
    for layer in net.layer:
        if len(layer.propagate_down) and not all(layer.propagate_down):
            changes.append(
                f"layer '{layer.name}': removed propagate_down: false, which would stop the gradient"
            )
        for name in _TRAINING_FIELDS:
            layer.ClearField(name)
        for descriptor, value in layer.ListFields():
            if descriptor.message_type is not None and "engine" in descriptor.message_type.fields_by_name:
                if value.HasField("engine"):
                    value.ClearField("engine")


def _make_names_unique(net: Any, changes: list[str]) -> None:
    """Rename later layers of one name that hold no parameters (weights are found by name)."""
    used = Counter(layer.name for layer in net.layer)
    seen: Counter = Counter()
    for layer in net.layer:
        seen[layer.name] += 1
        if seen[layer.name] == 1 or blob_count(layer):
            continue
        number = seen[layer.name]
        while used[f"{layer.name}_{number}"]:
            number += 1
        new = f"{layer.name}_{number}"
        changes.append(
            f"renamed the layer '{layer.name}' that makes '{layer.top[0]}' to '{new}': names must differ"
        )
        used[new] += 1
        layer.name = new


def _add_softmax(net: Any, original: Any, score: str, changes: list[str]) -> str:
    own = [
        layer
        for layer in original.layer
        if layer.type == "Softmax"
        and score in layer.bottom
        and score not in layer.top
        and layer.softmax_param.axis == 1
    ]
    if own:
        name, prob = own[-1].name, own[-1].top[0]
        changes.append(
            f"the net's own Softmax '{name}' on '{score}' gets loss_weight 1, so that Caffe backpropagates"
        )
    else:
        name = prob = _free_name(net, "prob")
        changes.append(f"Softmax '{prob}' on '{score}', with loss_weight 1 so that Caffe backpropagates")
    net.layer.add(name=name, type="Softmax", bottom=[score], top=[prob], loss_weight=[1])
    return prob


def _add_probe(net: Any, data: str, changes: list[str]) -> str:
    """No weight gradients; a Bias of zeros on the input keeps the gradient flowing down to it.

    In place, so that the blob keeps its name and its readers, and the first reader's backward writes the
    diff that belongs to the image. (``force_backward`` would do too, and compute all weight gradients.)
    """
    for layer in net.layer:
        while len(layer.param) < blob_count(layer):
            layer.param.add()
        for spec in layer.param:
            spec.lr_mult = 0
    maker = next(i for i, layer in enumerate(net.layer) if data in layer.top)
    name = _free_name(net, "probe")
    probe = pb.LayerParameter(name=name, type="Bias", bottom=[data], top=[data])
    probe.param.add(lr_mult=1, decay_mult=0)
    probe.bias_param.filler.type = "constant"
    probe.bias_param.filler.value = 0
    later = list(net.layer[maker + 1 :])
    del net.layer[maker + 1 :]
    net.layer.extend([probe, *later])
    changes.append(
        f"lr_mult 0 on every weight, and the probe '{name}' (a Bias of zeros, lr_mult 1) on '{data}'"
    )
    return name


def blob_count(layer: Any) -> int:
    """How many parameter blobs a layer has, told from its description; 0 for types without (or unknown)."""
    own_bottom = (
        1 if len(layer.bottom) < 2 else 0
    )  # Scale and Bias may read their factor from a second bottom
    if layer.type in ("Convolution", "Deconvolution", "DepthwiseConvolution"):
        return 1 + layer.convolution_param.bias_term
    if layer.type == "InnerProduct":
        return 1 + layer.inner_product_param.bias_term
    if layer.type == "Embed":
        return 1 + layer.embed_param.bias_term
    if layer.type == "Scale":
        return own_bottom + layer.scale_param.bias_term
    if layer.type == "Bias":
        return own_bottom
    fixed = {"BatchNorm": 3, "PReLU": 1, "Parameter": 1, "LSTM": 3, "RNN": 5, "MultiStageMeanfield": 3}
    count = fixed.get(layer.type, len(layer.param))
    return count + 1 if layer.type in ("LSTM", "RNN") and len(layer.bottom) > 2 else count


def _free_name(net: Any, wanted: str) -> str:
    return _free_name_among(net.layer, wanted)


def _free_name_among(layers: Iterable[Any], wanted: str) -> str:
    """``wanted``, or it with a prefix and number if a layer or blob already has that name."""
    taken = {name for layer in layers for name in (layer.name, *layer.top)}
    names = [wanted, f"gp_{wanted}", *(f"gp_{wanted}_{i}" for i in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _by(shape: Iterable[int | None]) -> str:
    return " x ".join(map(str, shape))


def _listed(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
