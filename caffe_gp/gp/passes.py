"""Truncated passes: which layers to run, backward and again forward, for one perturbed blob.

Works on any pycaffe net. Three rules of Caffe are settled here so that callers never meet them:

- An in-place layer rewrites its blob, so the perturbed value is the one after the *last* in-place writer
  and the passes begin at the first layer that reads it then.
- A blob with several readers goes through an automatic Split layer. That layer belongs to both passes:
  backward it sums the readers' diffs, forward it hands the new data on.
- Nobody clears the diff of a blob whose reader takes no part in the backward pass. Such diffs are zeroed
  before each pass, or a value from an earlier use of the net would leak in through a Split.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Sequence

from caffe_gp.errors import NetError, did_you_mean
from caffe_gp.gp.pycaffe import LayerView, Net, clear_diff, only_diffs


class TruncatedPass:
    """The layers between one blob and the score blob of a net.

    Attributes: ``blob``, ``score`` (names); ``first_reader``, ``score_maker`` (layer names, for messages).
    Raises NetError if a name is not a blob of the net or no layer leads from one to the other.
    """

    def __init__(self, net: Net, blob: str, score: str) -> None:
        layers = view_layers(net)
        for name in (blob, score):
            _check_blob(net, layers, name)
        self.net, self.blob, self.score = net, blob, score
        self._names = [layer.name for layer in layers]
        self._repeated = {name for name, count in Counter(self._names).items() if count > 1}
        written = _last_writer(layers, blob)
        made = _last_writer(layers, score)
        reads_blob = _downstream(layers, blob, written)
        between = _gradient_path(layers, blob, written, score, made)
        if not between:
            raise NetError(
                f"no layer leads from blob '{blob}' to the score blob '{score}'; perturb a blob that the "
                "score is computed from"
            )
        _refuse_finders(layers, set(reads_blob), blob, score, made)
        self.first_reader, self.score_maker = layers[between[0]].name, layers[made].name
        self._backward_runs = _runs(between)
        self._forward_runs = _runs(reads_blob)
        # The blob's own diff too: if nothing reaches it, it must read zero and not some old value.
        self._silent = [*_silent_diffs(layers, between, score), blob]

    def whole(self, parameters: bool = False) -> None:
        """All layers forward; ``parameters``: the diffs of those that learn are wanted, too."""
        with self._wanted(parameters):
            self.net.forward()

    def backward(self, parameters: bool = False) -> None:
        """From the diff of the score blob to the diff of the perturbed blob, and of ``parameters``."""
        for name in self._silent:
            clear_diff(self.net.blobs[name])
        with self._wanted(parameters):
            for first, last in reversed(self._backward_runs):
                self._call(self.net.backward, self.net._backward, last, first)

    def forward(self) -> None:
        """From the data of the perturbed blob to everything that is computed from it, and nothing else."""
        with only_diffs(self.net, self.blob):
            for first, last in self._forward_runs:
                self._call(self.net.forward, self.net._forward, first, last)

    def _wanted(self, parameters: bool) -> ContextManager[None]:
        return nullcontext() if parameters else only_diffs(self.net, self.blob)

    def _call(
        self, by_name: Callable[..., Any], by_index: Callable[[int, int], Any], start: int, end: int
    ) -> None:
        # pycaffe finds a name's first layer: layers that share a name are reached by their index.
        names = self._names[start], self._names[end]
        if self._repeated.intersection(names):
            by_index(start, end)
            return
        try:
            by_name(start=names[0], end=names[1])
        except KeyError:
            # pycaffe before mid 2017: the pass has run, then the layer's name is looked up as a blob.
            pass


def view_layers(net: Net) -> list[LayerView]:
    """The layers of a net in the order they run, automatic Split layers included."""
    blobs = list(net._blob_names)
    return [
        LayerView(
            name,
            layer.type,
            tuple(blobs[k] for k in net._bottom_ids(i)),
            tuple(blobs[k] for k in net._top_ids(i)),
            getattr(layer, "gives_diffs_to", None),  # our Python layers do
        )
        for i, (name, layer) in enumerate(zip(net._layer_names, net.layers))
    ]


def _check_blob(net: Net, layers: Sequence[LayerView], name: str) -> None:
    if name not in net.blobs:
        made = [top for layer in layers if layer.type != "Split" for top in layer.tops]
        blobs = ", ".join(dict.fromkeys(made))
        raise NetError(f"the net has no blob '{name}'; its blobs are {blobs}{did_you_mean(name, made)}")
    for layer in layers:
        if layer.type == "Split" and name in layer.tops and name.startswith(layer.name + "_"):
            raise NetError(f"blob '{name}' is an automatic copy; name the original, '{layer.bottoms[0]}'")


def _last_writer(layers: Sequence[LayerView], blob: str) -> int:
    return max(i for i, layer in enumerate(layers) if blob in layer.tops)


def _downstream(layers: Sequence[LayerView], blob: str, writer: int) -> list[int]:
    """Layers after ``writer`` whose result depends on ``blob``."""
    changed, found = {blob}, []
    for i in range(writer + 1, len(layers)):
        if changed.intersection(layers[i].bottoms):
            changed.update(layers[i].tops)
            found.append(i)
    return found


# Layers that read their further bottoms without ever writing a diff to them.
_GRADIENT_TO_FIRST_BOTTOM_ONLY = {
    *("Crop", "Python", "Filter", "BatchReindex", "Reshape", "ROIPooling", "PSROIPooling"),
}
# Layers that find boxes, in each pass other ones: a row each. They send no gradient back.
_FINDERS = {
    *("Proposal", "PythonProposal", "DetectionOutput", "YoloDetectionOutput", "Yolov3DetectionOutput"),
}


def _gradient_bottoms(layer: LayerView) -> tuple[str, ...]:
    if layer.type in _FINDERS:
        return ()
    count = layer.gives_diffs_to
    if count is None and layer.type in _GRADIENT_TO_FIRST_BOTTOM_ONLY:
        count = 1
    return layer.bottoms[:count]


def _refuse_finders(
    layers: Sequence[LayerView], reads_blob: set[int], blob: str, score: str, made: int
) -> None:
    """NetError if scores are those of regions that are found from the blob's values."""
    needed = {score}
    for i in range(made, -1, -1):
        if needed.intersection(layers[i].tops):
            needed.update(layers[i].bottoms)
            if i in reads_blob and layers[i].type in _FINDERS:
                raise NetError(
                    f"layer '{layers[i].name}' ({layers[i].type}) finds regions from blob '{blob}', in every "
                    f"pass other ones, and '{score}' has their scores: labels before and after would be of "
                    "different regions. Perturb a blob that it does not depend on, or put an Input with "
                    "regions in the layer's place"
                )


def _gradient_path(layers: Sequence[LayerView], blob: str, written: int, score: str, made: int) -> list[int]:
    """Layers through which ``score`` depends on ``blob`` in a way that Caffe differentiates."""
    needed, leads_to_score = {score}, set()
    for i in range(made, written, -1):
        if needed.intersection(layers[i].tops):
            needed.update(_gradient_bottoms(layers[i]))
            leads_to_score.add(i)
    changed, found = {blob}, []
    for i in range(written + 1, made + 1):
        if i in leads_to_score and changed.intersection(_gradient_bottoms(layers[i])):
            changed.update(layers[i].tops)
            found.append(i)
    return found


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive indices as (first, last) pairs."""
    runs: list[tuple[int, int]] = []
    for i in indices:
        if runs and runs[-1][1] == i - 1:
            runs[-1] = (runs[-1][0], i)
        else:
            runs.append((i, i))
    return runs


def _silent_diffs(layers: Sequence[LayerView], between: Sequence[int], score: str) -> list[str]:
    """Tops of the layers of a backward pass whose diff no layer of that pass writes."""
    written = {score}.union(*[_gradient_bottoms(layers[i]) for i in between])
    tops = [top for i in between for top in layers[i].tops]
    return [top for top in dict.fromkeys(tops) if top not in written]
