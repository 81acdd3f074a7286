"""Exceptions of torch, numpy and Python that a layer lets out become NetErrors that name it."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_gp.caffe import memory
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.byte_counts import workspace_bytes
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.errors import CaffeGPError, NetError, OutOfMemoryError, with_source

#: What the libraries below a layer raise for shapes, numbers, memory and files that they cannot take.
FOREIGN = (
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    StopIteration,
    MemoryError,
    OSError,
)


def named(
    error: Exception, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob], source: str, doing: str
) -> CaffeGPError:
    """What to raise for an error that left a layer: a NetError with the names of net and layer.

    doing   what failed, after 'cannot': 'compute', 'be set up'
    """
    if isinstance(error, NetError):
        placed = error if "layer '" in str(error) else type(error)(str(layer.error(str(error))))
        return with_source(placed, source)
    if isinstance(error, CaffeGPError):
        return error
    shapes = [", ".join(str(blob.shape) for blob in blobs) or "none" for blobs in (bottom, top)]
    said = [type(error).__name__, *str(error).strip().splitlines()[:1]]
    kind = NetError
    if isinstance(error, MemoryError) or "memory" in str(error):
        kind = OutOfMemoryError
        why = "out of memory: try smaller images or a smaller batch"
    elif "deterministic" in str(error):
        why = "on a GPU PyTorch has no deterministic way to do this: compute on the CPU"
    elif any(0 in blob.shape for blob in bottom):
        why = "does it take blobs without elements?"
    elif doing == "compute":
        why = "was a blob or a parameter reshaped since the last forward?"
    else:
        why = "do its parameters suit these shapes?"
    found = layer.error(
        f"cannot {doing} with bottoms {shapes[0]} and tops {shapes[1]}; {why} ({': '.join(said)})"
    )
    return with_source(kind(str(found)), source)


def reshape_layer(
    layer: Layer,
    bottom: Sequence[Blob],
    top: Sequence[Blob],
    before: Sequence[tuple[int, ...]] | None = None,
) -> None:
    """``layer.reshape`` if need be; NetError where a blob that is bottom and top gets another shape from it.

    before   the bottoms' shapes before the layer's setup, which may reshape too
    The layer's next pass would take what it made for what it was given.
    """
    if layer.reshapes_by_shape and layer.checked_shapes == _shapes(bottom, top, layer.blobs):
        return
    before = [blob.shape for blob in bottom] if before is None else before
    layer.reshape(bottom, top)
    shapes = [*before, *_shapes(top, layer.blobs)]
    if shapes == layer.checked_shapes:  # every pass reshapes, and hardly ever to something new
        return
    for blob in top:
        memory.need(memory.BYTES * blob.count, f"a top of the shape {blob.shape}")
    memory.need(workspace_bytes(layer, bottom, top), "its computation")
    for shape, blob in zip(before, bottom):
        if blob.shape != shape and any(blob is one for one in top):
            raise layer.error(
                f"does not work in place here: its bottom has the shape {shape}, its top {blob.shape}; give "
                "the top another name"
            )
    layer.checked_shapes = shapes


def _shapes(*groups: Sequence[Blob]) -> list[tuple[int, ...]]:
    return [blob.shape for blobs in groups for blob in blobs]
