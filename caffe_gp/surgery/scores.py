"""Which blob of a net holds the class scores: chosen where that is certain, else candidates are listed."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Dict, List, NoReturn, Sequence

from caffe_gp.errors import NetError, did_you_mean
from caffe_gp.gp.pycaffe import LayerView
from caffe_gp.gp.softmaxes import TO_PROBABILITIES, finals, is_loss, probabilities
from caffe_gp.surgery.layers import by
from caffe_gp.surgery.shapes import Shape, blob_shapes, canonical_axis

_SOFTMAX_LOSSES = ("SoftmaxWithLoss", "InfogainLoss")  # they apply a Softmax themselves
# Their bottom 0 holds the class scores, in the order in which they are believed.
_READERS = (("Softmax", *_SOFTMAX_LOSSES), ("ArgMax",), ("SegAccuracy",), ("Accuracy",), ("MatWrite",))
_MEASURES = ("Accuracy", "SegAccuracy", "ArgMax")
_REARRANGE = ("Reshape", "Permute", "Flatten", "Split")
# Types whose top may be class scores although no layer says so.
_SCORE_MAKERS = frozenset(
    "Convolution Deconvolution InnerProduct Eltwise Crop CropCenter Interp Upsample Unpooling UnPooling Axpy "
    "MultiStageMeanfield DenseCRF Concat Scale Bias Power BatchNorm BN Dropout Pooling ReLU ReLU6 PReLU ELU "
    "Reshape Permute Flatten Split Slice DepthwiseConvolution ConvolutionDepthwise Reduction Python".split()
)

_LISTED = 20  # names in a message
#: Of which one is searched for: GoogLeNet has 3. Each costs a walk through the net.
MAX_HEADS = 100

Heads = Dict[str, List[Any]]  # blob: the layers that read scores from it


def find_score(net: Any, unfiltered: Any, wanted: str | None) -> tuple[str, str]:
    """(blob, why it) of the class scores of a net; ``unfiltered`` has the layers of the other phase too.

    NetError, listing the candidates, where that is not certain, where there is no blob ``wanted``, and where
    the blob holds probabilities, or classes on another axis than 1.
    """
    search = _Search(net, unfiltered)
    score, reason = search.check(wanted) if wanted is not None else search.find()
    search.check_axis(score)
    return score, reason


class _Search:
    def __init__(self, net: Any, unfiltered: Any) -> None:
        self._net, self._unfiltered = net, unfiltered
        self._layers = _views(net)
        self._made = dict.fromkeys(top for layer in net.layer if layer.bottom for top in layer.top)
        self._readers: Heads = {}  # by a Softmax, or a loss that applies one
        for layer in net.layer:
            if layer.type in ("Softmax", *_SOFTMAX_LOSSES) and layer.bottom:
                self._readers.setdefault(layer.bottom[0], []).append(layer)
        self._shapes = blob_shapes(net)
        self._probabilities = probabilities(self._layers)

    def check(self, wanted: str) -> tuple[str, str]:
        if wanted not in self._made:
            hint = did_you_mean(wanted, self._made)
            raise NetError(
                f"net '{self._net.name}' has no blob '{wanted}' to take scores from{hint} "
                f"(candidates: {self._listed()})"
            )
        if wanted in self._probabilities:
            self._refuse(f"blob '{wanted}' holds probabilities, not the scores that they are made from")
        return wanted, "as asked"

    def find(self) -> tuple[str, str]:
        for types in _READERS:
            # The loss of a train/val file may exist in its TRAIN phase only.
            for source in (self._net, self._unfiltered):
                heads = self._heads(source, types)
                if heads:
                    return self._checked(*self._choose(heads, source))
        self._refuse_losses()
        outputs = [layer for layer in self._outputs() if layer.type not in _MEASURES]
        blobs = [layer.tops[0] for layer in outputs]
        if len(outputs) != 1:
            shown = ", ".join(blobs[:_LISTED] + ["..."] * (len(blobs) > _LISTED)) or "none"
            self._refuse(f"no Softmax makes its outputs, and there are {len(blobs)} ({shown})")
        if outputs[0].type not in _SCORE_MAKERS and blobs[0] not in self._probabilities:
            self._refuse(f"its only output '{blobs[0]}' is made by a layer of type {outputs[0].type}")
        if outputs[0].type == "Python" and self._probabilities.intersection(outputs[0].bottoms):
            self._refuse(f"Python layer '{outputs[0].name}' makes its only output from probabilities")
        return self._checked(blobs[0], "the only output; nothing in the file says that it holds class scores")

    def check_axis(self, score: str) -> None:
        """NetError if a Softmax of the net takes the classes of the blob from another axis than 1."""
        layer = self._other_axis(score)
        if layer is not None:
            sequences = any(other.type in ("LSTM", "RNN") for other in self._net.layer)
            self._refuse(
                f"layer '{layer.name}' ({layer.type}) has the classes of '{score}' on axis "
                f"{layer.softmax_param.axis}; guided perturbations need them on axis 1 (N x C x H x W, or "
                "N x C)" + ("; nets of sequences have no such blob" if sequences else "")
            )

    def _other_axis(self, blob: str) -> Any:
        """The layer that takes the classes of the blob from another axis than 1, or None."""
        shape = self._shapes.get(blob, (None,) * 4)
        for layer in self._readers.get(blob, ()):
            axis = layer.softmax_param.axis
            if axis != 1 and canonical_axis(axis, shape) != 1:
                return layer
        return None

    # ---- several heads

    def _heads(self, source: Any, types: Sequence[str]) -> Heads:
        layers = _views(source)
        silenced = {bottom for layer in layers if layer.type == "Silence" for bottom in layer.bottoms}
        made_by_argmax = {top for layer in layers if layer.type == "ArgMax" for top in layer.tops}
        heads: Heads = {}
        for layer, final in zip(source.layer, finals(layers)):
            blob = layer.bottom[0] if layer.bottom else ""
            if layer.type not in types or blob not in self._made or blob in made_by_argmax:
                continue
            if not silenced.intersection(layer.top) and (layer.type != "Softmax" or final):
                heads.setdefault(blob, []).append(layer)
            if len(heads) > MAX_HEADS:
                self._refuse(f"there are more than {MAX_HEADS} heads")
        return heads

    def _choose(self, heads: Heads, source: Any) -> tuple[str, str]:
        """The only head; the one computed from the others; or the one with the largest loss weight."""
        left, why = list(heads), ""
        if len(left) > 1:
            above = {blob: _ancestors(source, blob) for blob in heads}
            left = [
                blob
                for blob in heads
                if not any(blob in above[other] and self._same_classes(blob, other) for other in heads)
            ]
            why = ", which is computed from the other heads'"
        if len(left) > 1:
            weights = {blob: max(map(_loss_weight, heads[blob])) for blob in left}
            left = [blob for blob in left if weights[blob] == max(weights.values())]
            why = ", which has the largest loss_weight"
        if len(left) != 1:  # none, where each is computed from another or a weight is nan
            self._refuse(f"there are {len(heads)} heads")
        reader = heads[left[0]][-1]
        others = [blob for blob in heads if blob != left[0]]
        also = f"{why}; others read {', '.join(others)}" if others else ""
        return left[0], f"the bottom of {reader.type} layer '{reader.name}'{also}"

    def _same_classes(self, one: str, other: str) -> bool:
        channels = [self._shapes.get(blob, (None, None))[1:2] for blob in (one, other)]
        return one != other and channels[0] == channels[1] != (None,)

    # ---- what cannot be class scores

    def _checked(self, score: str, reason: str) -> tuple[str, str]:
        if score in self._probabilities:
            self._refuse(f"blob '{score}' holds probabilities, not the scores that they are made from")
        return score, reason

    def _refuse_losses(self) -> None:
        """NetError if the net was trained for something else than one class of several."""
        for layer in self._unfiltered.layer:
            if is_loss(layer.type) and layer.type not in _SOFTMAX_LOSSES:
                self._refuse(
                    f"layer '{layer.name}' ({layer.type}) is not known as a loss over classes of which each "
                    "pixel or image has one, and guided perturbations need scores of such classes"
                )

    # ---- candidates

    def _outputs(self) -> list[LayerView]:
        """The layers that make the blobs that are computed and that no layer reads, with that blob alone."""
        unread: dict[str, LayerView] = {}
        for layer in self._layers:
            for bottom in layer.bottoms:
                unread.pop(bottom, None)
            if layer.bottoms:
                tops = layer.tops[:1] if layer.type == "Pooling" else layer.tops  # its second is a mask
                unread.update((top, layer._replace(tops=(top,))) for top in tops)
        return list(unread.values())

    def _scores_behind(self, blobs: Sequence[str]) -> list[str]:
        """The blobs that may hold the scores from which blobs were made; themselves where possible."""
        makers: dict[str, list[int]] = {}
        for i, layer in enumerate(self._layers):
            for top in layer.tops:
                makers.setdefault(top, []).append(i)
        found: dict[str, None] = {}
        seen: set[tuple[str, int]] = set()
        left = [(blob, len(self._layers)) for blob in reversed(blobs)]
        while left:
            blob, before = left.pop()
            place = bisect_left(makers.get(blob, []), before) - 1
            if place < 0 or (blob, makers[blob][place]) in seen:
                continue
            i = makers[blob][place]
            seen.add((blob, i))
            layer = self._layers[i]
            if is_loss(layer.type) or layer.type in (*_MEASURES, *TO_PROBABILITIES, *_REARRANGE, "Normalize"):
                passes = True
            else:
                passes = blob in self._probabilities or bool(self._probabilities.intersection(layer.bottoms))
            if passes:
                left += [(bottom, i) for bottom in reversed(layer.bottoms)]
            elif layer.bottoms and layer.type != "PriorBox":
                found[blob] = None
        return list(found)

    def _listed(self) -> str:
        sources = [top for layer in self._outputs() for top in layer.tops]
        sources += [
            layer.bottom[0] for layer in self._unfiltered.layer if is_loss(layer.type) and layer.bottom
        ]
        found = [blob for blob in self._scores_behind(sources) if self._other_axis(blob) is None]
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        shown = ", ".join(_with_shape(blob, self._shapes.get(blob)) for blob in found[:_LISTED])
        return shown + more or "none was found"

    def _refuse(self, why: str) -> NoReturn:
        name = f"net '{self._net.name}': " if self._net.name else ""
        raise NetError(
            f"{name}which blob holds the class scores? {why[0].upper()}{why[1:]}. Name it with --score NAME "
            f"(in Python: score='NAME'); candidates: {self._listed()}"
        )


def _views(net: Any) -> list[LayerView]:
    return [LayerView(layer.name, layer.type, tuple(layer.bottom), tuple(layer.top)) for layer in net.layer]


def _ancestors(net: Any, blob: str) -> set[str]:
    """Blobs that a blob is computed from."""
    found = {blob}
    for layer in reversed(net.layer):
        if found.intersection(layer.top):
            found.update(layer.bottom)
    return found - {blob}


def _loss_weight(layer: Any) -> float:
    return layer.loss_weight[0] if len(layer.loss_weight) else 1.0


def _with_shape(blob: str, shape: Shape | None) -> str:
    return blob if shape is None else f"{blob} ({by(shape)})"
