"""Which Softmax of a net makes its probabilities, and which one is a part in its middle, like attention's."""

from __future__ import annotations

from typing import Sequence

from caffe_gp.gp.pycaffe import LayerView

# Layers that hand on, rearrange or measure what they read, without combining it with anything else.
_HAND_ON = frozenset(
    "Split Reshape Flatten Permute Slice Interp Crop CropCenter Upsample Log ArgMax Accuracy SegAccuracy "
    "MatWrite Silence HDF5Output DetectionOutput".split()
)
_AVERAGE = frozenset("Eltwise Pooling Concat Power Dropout".split())
TO_PROBABILITIES = ("Softmax", "Sigmoid")


def is_loss(layer_type: str) -> bool:
    """Whether layers of a type measure a loss, and make nothing that a net is asked for."""
    return layer_type.endswith("Loss")


def finals(layers: Sequence[LayerView]) -> list[bool]:
    """Of each layer, whether what it makes is only handed on, rearranged or measured by later layers."""
    found: list[bool] = []
    other_use: set[str] = set()  # blobs that a later layer reads, as they are here, for something else
    for layer in reversed(layers):
        found.append(other_use.isdisjoint(layer.tops))
        hands_on = layer.type in _HAND_ON or is_loss(layer.type)
        used = bool(layer.tops) and not (hands_on and found[-1])
        other_use.difference_update(layer.tops)
        if used:
            other_use.update(layer.bottoms[:1] if layer.type == "Crop" else layer.bottoms)
    return found[::-1]


def probabilities(layers: Sequence[LayerView]) -> set[str]:
    """Blobs that hold probabilities, or averages of some; not those that were scores before, in place."""
    found: set[str] = set()
    for layer in layers:
        bottoms = layer.bottoms[:1] if layer.type == "Crop" else layer.bottoms
        passes = layer.type in _HAND_ON or layer.type in _AVERAGE
        makes = layer.type in TO_PROBABILITIES and layer.bottoms[:1] != layer.tops[:1]
        found.difference_update(layer.tops)
        if makes or (passes and bottoms and found.issuperset(bottoms)):
            found.update(layer.tops)
    return found
