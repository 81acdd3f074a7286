"""RNN, LSTM and LSTMUnit."""

from __future__ import annotations

from typing import Sequence

from conformance.case import TRAIN, TWICE, Case
from conformance.layer_cases import LayerCases
from conformance.prototxt import input_layer, layer


def cases() -> list[Case]:
    c = LayerCases()
    for kind in ("LSTM", "RNN"):
        for time, batch, features, outputs in (
            (1, 1, (1,), 1),
            (4, 3, (5,), 2),
            (7, 2, (2, 3), 4),
            (3, 5, (1,), 3),
        ):
            for static in (None, (3,), (2, 2)):
                for expose in (False, True):
                    c.cases.append(recurrent(kind, (time, batch) + features, outputs, static, expose))
    for batch, size in ((1, 1), (5, 3)):
        text = "\n".join(
            [
                "force_backward: true",
                input_layer({"c": (1, batch, size), "g": (1, batch, 4 * size), "cont": (1, batch)}),
                layer("unit", "LSTMUnit", "c g cont", "c1 h1"),
            ]
        )
        c.cases.append(
            Case(
                "LSTMUnit %dx%d" % (batch, size),
                "LSTMUnit",
                text,
                phase=TRAIN,
                steps=TWICE,
                inputs={"c": "gauss", "g": "gauss 2", "cont": "const 1"},
            )
        )
    return c.cases


def recurrent(kind: str, shape: tuple, outputs: int, static: tuple | None, expose: bool) -> Case:
    """One recurrent layer over a sequence, with marks where new sequences start."""
    time, batch = shape[:2]
    blobs: dict[str, Sequence[int]] = {"x": shape, "cont": (time, batch)}
    schemes = {"x": "gauss", "cont": "continue"}
    if static:
        blobs["static"], schemes["static"] = (batch,) + static, "gauss"
    states = ("h", "c")[: 2 if kind == "LSTM" else 1]
    if expose:
        for state in states:
            blobs[state + "_start"], schemes[state + "_start"] = (1, batch, outputs), "gauss"
    tops = ["out"] + ([state + "_end" for state in states] if expose else [])
    extra = "recurrent_param { num_output: %d %s }" % (outputs, "expose_hidden: true" if expose else "")
    text = "\n".join(
        ["force_backward: true", input_layer(blobs), layer("rec", kind, list(blobs), tops, extra)]
    )
    count = {"LSTM": 3, "RNN": 5}[kind] + (1 if static else 0)
    name = "%s %s -> %d%s%s" % (
        kind,
        "x".join(map(str, shape)),
        outputs,
        f" static {static}" if static else "",
        " exposed" if expose else "",
    )
    # Without exposed states the second round goes on from the first one's last state. BVLC Caffe leaves the
    # diffs of the continuation marks undefined.
    return Case(
        name,
        kind,
        text,
        phase=TRAIN,
        inputs=schemes,
        params={"rec": ["gauss 0.7"] * count},
        steps=TWICE,
        skip=["diff/cont"],
    )
