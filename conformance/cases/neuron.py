"""Elementwise layers."""

from __future__ import annotations

from conformance.case import FORWARD_ONLY, TRAIN, Case, reshaping
from conformance.layer_cases import LayerCases

SHAPE = (2, 3, 4, 5)
# (layer type, parameters, scheme of the input)
LAYERS = [
    ("ReLU", "", "gauss"),
    ("ReLU", "relu_param { negative_slope: 0.1 }", "gauss"),
    ("ReLU", "relu_param { negative_slope: -0.3 }", "gauss"),
    ("Sigmoid", "", "gauss 3"),
    ("TanH", "", "gauss 2"),
    ("Swish", "", "gauss 2"),
    ("Swish", "swish_param { beta: 2.5 }", "gauss"),
    ("ELU", "", "gauss"),
    ("ELU", "elu_param { alpha: 0.3 }", "gauss"),
    ("BNLL", "", "gauss 3"),
    ("Clip", "clip_param { min: -0.5 max: 0.7 }", "gauss"),
    ("Clip", "clip_param { min: 0 max: 1 }", "ties"),
    ("Exp", "", "gauss"),
    ("Exp", "exp_param { base: 2 }", "gauss"),
    ("Exp", "exp_param { base: 3 scale: 0.5 shift: 1.5 }", "gauss"),
    ("Exp", "exp_param { scale: -1 shift: 2 }", "gauss"),
    ("Log", "", "positive"),
    ("Log", "log_param { base: 2 }", "positive"),
    ("Log", "log_param { base: 10 scale: 2 shift: 1 }", "positive"),
    ("Power", "", "gauss"),
    ("Power", "power_param { power: 2 }", "gauss"),
    ("Power", "power_param { power: 2 scale: 0.5 shift: 1 }", "gauss"),
    ("Power", "power_param { power: 3 scale: -2 }", "gauss"),
    ("Power", "power_param { power: 3 scale: 0.5 shift: 0.2 }", "gauss"),
    ("Power", "power_param { scale: 3 shift: -1 }", "gauss"),
    ("Power", "power_param { power: 0 }", "gauss"),
    ("Power", "power_param { scale: 0 shift: 2 power: 3 }", "gauss"),
    ("Power", "power_param { power: 0.5 shift: 1 }", "positive"),
    ("Power", "power_param { power: -1.5 scale: 2 }", "positive"),
    ("PReLU", "", "gauss"),
    ("PReLU", "prelu_param { channel_shared: true }", "gauss"),
    ("Dropout", "", "gauss"),
    ("Dropout", "dropout_param { dropout_ratio: 0.9 }", "gauss"),
]


def cases() -> list[Case]:
    c = LayerCases()
    for kind, extra, scheme in LAYERS:
        for in_place in (False, True):
            # In place, Caffe's backward reads what the forward has overwritten; a second round starts anew.
            for shape in (SHAPE, (3, 7), (1, 1, 1, 1)) + (((1, 2, 3, 1, 2),) if kind != "PReLU" else ()):
                c.add(kind, extra, shape, schemes=[scheme], in_place=in_place)
        c.add(kind, extra, SHAPE, schemes=["const 0" if scheme == "gauss" else scheme])
    c.add("AbsVal", "", SHAPE)
    c.add("AbsVal", "", (3, 7), schemes=["ties"])
    c.add("AbsVal", "", SHAPE, in_place=True, refused=True)
    for threshold in ("", "threshold_param { threshold: 0.5 }", "threshold_param { threshold: 1 }"):
        for scheme in ("gauss", "ties"):
            c.add("Threshold", threshold, SHAPE, schemes=[scheme], backward="none")
            c.add("Threshold", threshold, SHAPE, schemes=[scheme], backward="none", in_place=True)
    for kind in (
        "ReLU",
        "Sigmoid",
        "TanH",
        "PReLU",
        "ELU",
        "Power",
        "Exp",
        "Swish",
        "BNLL",
        "AbsVal",
        "Clip",
    ):
        extra = "clip_param { min: 0 max: 1 }" if kind == "Clip" else ""
        c.add(kind, extra, SHAPE, phase=TRAIN)
        # Caffe accepts a blob of no values once it has held some, and aborts on one that never did.
        c.add(
            kind,
            extra,
            SHAPE,
            steps=reshaping(1, (SHAPE, (0, 3, 4, 5), (2, 3, 0, 5), SHAPE)),
            ours="accepts" if kind in ("Power", "Exp", "Swish", "AbsVal") else "",
        )  # BVLC copies zero values: CHECK
        c.add(kind, extra, (0, 3, 4, 5), ours="accepts")
    # Reshaped between passes, as a net that is fed images of several sizes does.
    for kind in ("ReLU", "PReLU", "Swish", "Dropout", "ELU"):
        steps = reshaping(1, (SHAPE, (3, 3, 2, 7), (1, 3, 6, 6), SHAPE))
        c.add(kind, "", SHAPE, steps=steps)
        c.add(kind, "", SHAPE, steps=steps, in_place=True)
    # A constant 0 takes what is no number away.
    for kind, extra in (
        ("Exp", "exp_param { base: 2 scale: 0 }"),
        ("Log", "log_param { scale: 0 shift: 2 }"),
        ("Power", "power_param { scale: 0 shift: 2 power: 3 }"),
        ("Power", "power_param { power: 0 }"),
        ("Power", "power_param { scale: 2 }"),
        ("Swish", "swish_param { beta: 0 }"),
    ):
        c.add(kind, extra, SHAPE, schemes=["holes"])
    # TRAIN Dropout is random; with nothing dropped it can be compared.
    c.add("Dropout", "dropout_param { dropout_ratio: 0 }", SHAPE, phase=TRAIN)
    c.add("PReLU", "prelu_param { filler { type: 'constant' value: 0.3 } }", SHAPE, params=["keep"])
    c.add("PReLU", "", SHAPE, params=["keep"], steps=FORWARD_ONLY)
    return c.cases
