"""What a backward pass has to compute for the diffs of a few blobs: parts of the other blobs' diffs."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.windows import Window
from caffe_gp.caffe.layers.base import Layer


class Needs:
    """Of one net, for the diffs of the blobs ``wanted``, as long as shapes stay.

    layers, bottoms, tops   in the order they run
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        bottoms: Sequence[Sequence[Blob]],
        tops: Sequence[Sequence[Blob]],
        wanted: Sequence[Blob],
    ) -> None:
        self._wanted = wanted
        self._read = {blob for bottom in bottoms for blob in bottom}
        # By blob: the part of its diff that is needed, None for all of it; other blobs' are not needed.
        self._parts: dict[Blob, Window | None] = {
            blob: Window.whole(blob.shape) if len(blob.shape) == 4 else None for blob in wanted
        }
        for layer, bottom, top in zip(layers, bottoms, tops):
            reads = [blob for blob in bottom if blob in self._parts]
            for blob in top if reads else ():
                if blob in reads and not layer.keeps_places:
                    self._parts[blob] = None  # in place it may mix all places, as MVN does
                elif blob not in self._parts:
                    self._parts[blob] = self._reached(layer, bottom, blob)

    def _reached(self, layer: Layer, bottom: Sequence[Blob], top: Blob) -> Window | None:
        part = self._parts[bottom[0]] if len(bottom) == 1 else None
        if part is None or len(top.shape) != 4:
            return None
        if layer.type == "Split" or layer.keeps_places:
            return part
        return layer.reached(part, top) if layer.computes_parts else None

    def part(self, layer: Layer, bottom: Sequence[Blob]) -> Window | None:
        """What the layer's backward has to compute of its bottom's diff, where less than all of it.

        Its parameters' must not be asked for: from a part of the diff only a part of theirs would follow.
        """
        knows_parts = len(bottom) == 1 and (layer.computes_parts or layer.idempotent_in_place)
        return self._parts.get(bottom[0]) if knows_parts else None

    def release(self, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Let the tops' diffs go, which the layer has used.

        Those of outputs stay, since no layer writes them: they are a script's, or the weight of a loss.
        """
        others = (*bottom, *layer.blobs, *self._wanted)
        for blob in top:
            if blob in self._read and not any(blob.shares_diff(other) for other in others):
                blob.release_diff()
