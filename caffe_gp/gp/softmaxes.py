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


def is_final(layers: Sequence[LayerView], i: int) -> bool:
    """Whether what layer ``i`` makes is only handed on, rearranged or measured by the layers after it."""
    carried = set(layers[i].tops)
    for layer in layers[i + 1 :]:
        reads = carried.intersection(layer.bottoms[:1] if layer.type == "Crop" else layer.bottoms)
        carried.difference_update(layer.tops)
        if not reads:
            continue
        if layer.tops and layer.type not in _HAND_ON and not is_loss(layer.type):
            return False
        carried.update(layer.tops)
    return True


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
