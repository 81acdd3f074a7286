"""Who reads a blob: Split, for several readers, and Silence, for none."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register


@register("Split")
class SplitLayer(Layer):
    """One blob for several readers: the tops share the bottom's data, their diffs are summed.

    The net inserts it wherever a blob has more than one reader.
    """

    exact_num_bottom = 1
    min_top = 1
    reshapes_by_shape = True
    shares_memory = True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob in top:
            if blob is bottom[0]:
                raise self.error("does not work in place")
            blob.reshape_like(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob in top:
            blob.share_data(bottom[0])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Sum in the order of the tops. A diff that nobody ever wrote is zero and costs nothing."""
        if not propagate_down[0]:
            return
        diffs = [blob.diff_tensor for blob in top if blob.has_diff]
        if not diffs:
            bottom[0].zero_diff()
            return
        total = diffs[0] + diffs[1] if len(diffs) > 1 else diffs[0].clone()
        for diff in diffs[2:]:
            total.add_(diff)
        bottom[0].diff_tensor = total


@register("Silence")
class SilenceLayer(Layer):
    """Reads blobs so that they are no net outputs; computes nothing, gives zero diffs."""

    min_bottom = 1
    exact_num_top = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass  # there is no top

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        pass

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Zero diffs (never the data)."""
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                blob.zero_diff()
