"""What a forward pass need not compute again: the parts of blobs that cannot have changed.

With a pad of 100, as FCNs have it, much of every early blob depends on the zeros around the image only, and
a blob still holds what the last pass put there. So of each blob is known what the last pass changed, and a
layer computes the part of its top that this reaches. Whatever is not known for certain counts as changed
everywhere: a blob or a parameter that somebody has a view of, another shape, a layer that knows no parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from caffe_gp.caffe.blob import Blob, State
from caffe_gp.caffe.fast.windows import Window
from caffe_gp.caffe.layers.base import Layer


class _Last(NamedTuple):
    """What a layer read and had in its top: there when the layers in place behind it were done, too."""

    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    parameters: tuple[int, ...]
    bottom: State | None
    top: State | None


class Changes:
    """Of one net.

    layers, bottoms, tops   in the order they run
    """

    def __init__(
        self, layers: Sequence[Layer], bottoms: Sequence[Sequence[Blob]], tops: Sequence[Sequence[Blob]]
    ) -> None:
        self._layers, self._bottoms, self._tops = layers, bottoms, tops
        # Of each layer that computes parts: the last of the layers in place behind it, or itself. Nothing of
        # a net whose images reach everything.
        some = range(len(layers)) if any(layer.pads_widely for layer in layers) else ()
        self._ends = {i: end for i in some if (end := self._end_in_place(i)) is not None}
        self._of = {j: i for i, end in self._ends.items() for j in range(i, end + 1)}
        self._last: dict[int, _Last] = {}
        # Of a layer behind which layers in place are still to come: the top's state after the last one.
        self._open: dict[int, State | None] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to leave out."""
        return bool(self._ends)

    def _end_in_place(self, i: int) -> int | None:
        """None also where a layer in place would change again what it has changed before."""
        bottoms, tops = self._bottoms[i], self._tops[i]
        if not self._layers[i].computes_parts or len(bottoms) != 1 or len(tops) != 1 or tops[0] is bottoms[0]:
            return None
        end = i
        for j in range(i + 1, len(self._layers)):
            if any(blob is tops[0] for blob in self._tops[j]):
                if j != end + 1 or not self._layers[j].idempotent_in_place:
                    return None
                end = j
        return end

    def before(self, i: int, end: int) -> None:
        """Tell layer ``i``, in a forward up to layer ``end``, what of its top to compute."""
        if i not in self._ends:
            made = self._of.get(i)
            if made is not None and self._open.get(made) != self._tops[i][0].data_state:
                self._open.pop(made, None)  # somebody has changed the top meanwhile
            return
        layer, bottom, top = self._layers[i], self._bottoms[i][0], self._tops[i][0]
        now = _Last((bottom.shape, top.shape), layer.parameter_versions(), bottom.data_state, top.data_state)
        last, self._last[i] = self._last.get(i), now
        layer.window = None
        if last is None or self._ends[i] > end or now.top is None or not top.has_own_data():
            return
        if (last.shapes, last.parameters, last.top) == (now.shapes, now.parameters, now.top):
            layer.window = layer.reached(_changed(bottom, last.bottom, now.bottom), top)

    def after(self, i: int, until: int) -> None:
        """Note what layer ``i`` has changed, together with those in place behind it up to ``until``."""
        made = self._of.get(i)
        if made is None or i != made and made not in self._open:
            return
        top, last, window = self._tops[i][0], self._last[made], self._layers[made].window
        if window is not None:
            top.note_change(last.top, window)
        if until == self._ends[made]:
            self._last[made] = last._replace(top=top.data_state)
            self._open.pop(made, None)
        else:
            self._open[made] = top.data_state


def _changed(blob: Blob, before: State | None, now: State | None) -> Window:
    """What of a blob can differ from what it held in a state before."""
    if now is not None and now == before:
        return Window(0, 0, 0, 0)
    known = blob.change_since(before) if before is not None else None
    return known or Window.whole(blob.shape)
