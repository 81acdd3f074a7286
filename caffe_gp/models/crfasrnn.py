"""CRF-RNN (torrvision/crfasrnn): an FCN-8s with learned upsampling, then ten mean-field iterations.

One weights file serves both nets: FCN-8s-coco is the net cut at its scores ``coarse``. Names have hyphens,
and some blobs are named unlike their layers: ``score-fr`` makes ``score``, which is not the net's result.
The released description leaves the alignment of its Crops to its Caffe, and calls three layers ``crop`` and
two ``fuse``; here the offsets are written down and later layers of a name (none has parameters) numbered.
"""

from __future__ import annotations

from typing import Any

from caffe_gp.models.builder import FIXED, Builder
from caffe_gp.models.fcn import INPUT_SHAPE, VOC_CLASSES, vgg16

_LEARNED_KERNEL = ({"lr_mult": 1.0},)


def fcn8s_coco() -> Any:
    """FCN-8s-coco: CRF-RNN without the CRF; class scores in ``coarse``."""
    net = Builder("fcn-8s-coco", INPUT_SHAPE)
    _fcn8s(net)
    return net.param


def crfasrnn_coco() -> Any:
    """CRFasRNN-coco: class scores in ``pred``, not normalised."""
    net = Builder("crfasrnn-coco", INPUT_SHAPE)
    net.add("Split", "splitting", [_fcn8s(net)], ["unary", "Q0"])
    net.add(
        "MultiStageMeanfield",
        "inference1",
        ["unary", "Q0", "data"],
        ["pred"],
        param=[{"lr_mult": 10000.0}, {"lr_mult": 10000.0}, {"lr_mult": 1000.0}],
        multi_stage_meanfield_param={
            "num_iterations": 10,
            "threshold": 2.0,
            "theta_alpha": 160.0,
            "theta_beta": 3.0,
            "theta_gamma": 3.0,
            "spatial_filter_weight": 3.0,
            "bilateral_filter_weight": 5.0,
        },
    )
    return net.param


def _fcn8s(net: Builder) -> str:
    """From ``data`` to ``coarse``. The upsampling of score2 and score4 is learned: never refill it."""
    classes = VOC_CLASSES
    scores = net.conv("score-fr", vgg16(net, dropout=True), classes, 1, top="score")
    up = net.deconv("score2", scores, classes, 4, stride=2, bias=True, param=_LEARNED_KERNEL)
    skip = net.conv("score-pool4", "pool4", classes, 1)
    skip = net.crop("crop", skip, up, offset=5, top="score-pool4c")
    fused = net.eltwise("fuse", [up, skip], top="score-fused")
    up = net.deconv("score4", fused, classes, 4, stride=2, param=_LEARNED_KERNEL)
    skip = net.conv("score-pool3", "pool3", classes, 1)
    skip = net.crop("crop_2", skip, up, offset=9, top="score-pool3c")
    fused = net.eltwise("fuse_2", [up, skip], top="score-final")
    up = net.deconv("upsample", fused, classes, 16, stride=8, param=FIXED, top="bigscore")
    return net.crop("crop_3", up, "data", offset=31, top="coarse")
