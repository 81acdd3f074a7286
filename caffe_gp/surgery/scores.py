"""Which blob of a net holds the class scores."""

from __future__ import annotations

from typing import Any

from caffe_gp.errors import NetError, did_you_mean

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


def find_score(net: Any, unfiltered: Any, wanted: str | None) -> tuple[str, str]:
    """(blob, why it) of the class scores of a net; ``unfiltered`` has the layers of the other phase too.

    NetError, listing the candidates, where that is not certain, or where there is no blob ``wanted``.
    """
    made = list(dict.fromkeys(top for layer in net.layer for top in layer.top))
    if wanted is not None:
        if wanted not in made:
            raise NetError(
                f"net '{net.name}' has no blob '{wanted}' to take scores from{did_you_mean(wanted, made)} "
                f"(candidates: {', '.join(top for top, _ in outputs(net)) or ', '.join(made)})"
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
    found = outputs(net)
    candidates = [top for top, maker in found if maker in _DENSE_SCORE_MAKERS] if len(found) > 1 else []
    candidates = candidates or [top for top, _ in found]
    if len(candidates) == 1:
        return candidates[0], "the only output"
    raise NetError(
        f"net '{net.name}': which blob holds the class scores? There is no Softmax and "
        f"{len(candidates)} candidate(s): {', '.join(candidates) or 'none'}; name it with score="
    )


def outputs(net: Any) -> list[tuple[str, str]]:
    """(blob, type of the layer that last wrote it) of the blobs that are computed and that no layer reads."""
    unread: dict[str, str] = {}
    for layer in net.layer:
        for bottom in layer.bottom:
            unread.pop(bottom, None)
        if layer.bottom:
            unread.update((top, layer.type) for top in layer.top)
    return list(unread.items())
