"""What of a net is exported: from its inputs to the blobs that are asked for, or to all of its outputs."""

from __future__ import annotations

from typing import Any, Sequence

from caffe_gp import proto
from caffe_gp.errors import CaffeGPError, NetError, UsageError, did_you_mean
from caffe_gp.gp.softmaxes import is_loss
from caffe_gp.proto import messages as pb
from caffe_gp.surgery import crops
from caffe_gp.surgery.inputs import add_input, check_bottoms
from caffe_gp.surgery.layers import listed
from caffe_gp.surgery.prepare import Prepared
from caffe_gp.surgery.scores import find_score
from caffe_gp.surgery.transforms import transform_of

#: They turn what a net computes into lists of boxes, by sorting and choosing: exports end before them.
DECODERS = frozenset("DetectionOutput Proposal YoloDetectionOutput Yolov3DetectionOutput".split())
_MEASURES = frozenset("Accuracy SegAccuracy Silence MatWrite HDF5Output".split())


def describe(
    param: Any,
    ends: Sequence[str] = (),
    *,
    size: tuple[int, int] | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
) -> tuple[Prepared, list[str]]:
    """The net to export, with Input layers and without what ``ends`` do not need; and the blobs it ends with.

    param   an upgraded NetParameter; not modified
    ends    default: what no layer reads, without losses and measures and up to DECODERS; of a net that is
            trained, the scores
    size    height and width of the image; default: the net's own
    The result has no Softmax and no probe. Raises NetError for blobs that there are not.
    """
    changes: list[str] = []
    original = proto.filter_net(param, pb.TEST, level, stages)
    check_bottoms(original, param)
    wanted = list(dict.fromkeys(ends)) or _ends(original, param, changes)
    made = {top for layer in original.layer for top in layer.top}
    for blob in wanted:
        if blob not in made:
            raise NetError(f"net '{original.name}' has no blob '{blob}'{did_you_mean(blob, made)}")
    net = _needed(original, wanted, changes)
    data, guessed, source = _feed(net, param, size, changes)
    crops.align_legacy_crops(net, changes)
    transform = transform_of(source) if source is not None else None
    prepared = Prepared(net, data, ", ".join(wanted), "", "", guessed, changes, transform=transform)
    return prepared, wanted


def _ends(net: Any, unfiltered: Any, changes: list[str]) -> list[str]:
    fed = [layer for layer in net.layer if not layer.bottom and layer.type not in ("Input", "Parameter")]
    if fed or any(is_loss(layer.type) for layer in unfiltered.layer):
        score, reason = find_score(net, unfiltered, None)
        changes.append(f"exported up to blob '{score}' ({reason})")
        return [score]
    unread: dict[str, None] = {}
    behind: set[str] = set()  # blobs that are computed from what decoders make
    given = {top for layer in net.layer if layer.type == "Input" for top in layer.top}
    cut = []
    for layer in net.layer:
        if layer.type in _MEASURES or layer.type == "Input":
            continue
        if layer.type in DECODERS or behind.intersection(layer.bottom):
            if layer.type in DECODERS:
                cut.append(f"{layer.name} ({layer.type})")
            unread.update((bottom, None) for bottom in layer.bottom if bottom not in behind | given)
            behind.update(layer.top)
            continue
        for bottom in layer.bottom:
            unread.pop(bottom, None)
        unread.update(dict.fromkeys(layer.top))
    if cut:
        changes.append(f"exported up to the bottoms of {listed(cut)}, which have no counterpart")
    if not unread:
        raise NetError(f"net '{net.name}' has no output to export: give --end BLOB")
    return list(unread)


def _needed(net: Any, ends: Sequence[str], changes: list[str]) -> Any:
    """The layers that ``ends`` are computed from."""
    needed, kept, dropped = set(ends), [], []
    for layer in reversed(net.layer):
        if needed.intersection(layer.top) and layer.type not in ("HDF5Output", "MatWrite"):
            needed.update(layer.bottom)
            kept.append(layer)
        elif layer.type != "Input":
            dropped.append(f"{layer.name} ({layer.type})")
    if dropped:
        changes.append(f"dropped what {listed(map(repr, ends))} need not: {listed(reversed(dropped))}")
    result = pb.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    result.layer.extend(reversed(kept))
    return result


def _feed(net: Any, param: Any, size: tuple[int, int] | None, changes: list[str]) -> tuple[str, bool, Any]:
    """(image blob, whether its channels are guessed, the data layer that was replaced)."""
    read = {bottom for layer in net.layer for bottom in layer.bottom}
    inputs = [top for layer in net.layer if layer.type == "Input" for top in layer.top if top in read]
    if len(inputs) > 1:
        if size is not None:
            raise UsageError(f"--input-size is for nets of one input, this one has {', '.join(inputs)}")
        return inputs[0], False, None
    shape = None if size is None else (None, None, *size)
    try:
        fed = add_input(net, param, shape, {}, changes)
    except NetError as error:
        raise type(error)(f"{error}; or export an inner part with --end BLOB") from error
    return fed.data, fed.channels_are_guess, fed.source


def unmapped(net: Any, found: Sequence[tuple[Any, str]]) -> CaffeGPError:
    """The error for layers that have no counterpart, and what to do: (layer, why)."""
    first = found[0][0]
    made = {top for layer in net.layer if layer.bottom for top in layer.top}
    before = [f"--end '{bottom}'" for bottom in dict.fromkeys(first.bottom) if bottom in made]
    lines = [f"  '{layer.name}' ({layer.type}): {why}" for layer, why in found[:20]]
    more = [f"  and {len(found) - 20} more"] if len(found) > 20 else []
    remedy = f"; export up to the first of them with {' '.join(before)}" if before else ""
    return NetError(f"{len(found)} layer(s) have no counterpart in PyTorch{remedy}:", *lines, *more)
