"""BatchNorm with a scale and a bias of its own, as NVIDIA Caffe has it: how it is told, its blobs' order.

    today's, five blobs    mean, variance, correction (1 value), scale, bias
    of Caffe 0.15          scale, bias, mean, variance, correction
    BVLC's, three          mean, variance, correction

Mean and variance are divided by the correction. NVIDIA Caffe writes a correction of 1, BVLC Caffe the sum
of the weights in its moving averages.
"""

from __future__ import annotations

from typing import Any

STATISTICS, BLOBS = 3, 5
#: NVIDIA Caffe takes no smaller eps.
SMALLEST_EPS = 1e-5
_INTEL = ("filler", "use_weight_bias", "bias_term", "stats_batch_size", "relu")


def has_scale_and_bias(param: Any) -> bool:
    """Whether a BatchNormParameter describes a layer of five blobs.

    ``scale_bias``, or one of the fillers. Intel Caffe has a ``bias_filler`` too; its own fields tell it.
    """
    if param.scale_bias or param.HasField("scale_filler"):
        return True
    return param.HasField("bias_filler") and not any(param.HasField(name) for name in _INTEL)


def in_todays_order(blobs: list[Any]) -> list[Any]:
    """The WeightBlobs of a file's BatchNorm layer, those of Caffe 0.15 rearranged: their last has one value.

    With one channel all have one: then it is today's order where the third is 1, as all write it.
    """
    if len(blobs) != BLOBS or blobs[4].count != 1:
        return blobs
    if blobs[2].count == 1 and blobs[2].array().item() == 1:
        return blobs
    scale, bias, *statistics = blobs
    for blob in blobs:  # whatever number of axes they had
        blob.shape, blob.legacy = (blob.count,), False
    return [*statistics, scale, bias]
