"""Solvers: every type, learning rate policy and option; parameters after 10 iterations."""

from __future__ import annotations

from typing import Any, Sequence

from conformance.case import TRAIN, Case, Step
from conformance.prototxt import input_layer, layer

NET = "\n".join(
    [
        input_layer({"data": (6, 2, 6, 5), "label": (6,)}),
        layer(
            "conv",
            "Convolution",
            "data",
            "conv",
            "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 } "
            "convolution_param { num_output: 4 kernel_size: 3 }",
        ),
        layer("tanh", "TanH", "conv", "conv"),
        layer("ip", "InnerProduct", "conv", "score", "inner_product_param { num_output: 3 }"),
        layer("loss", "SoftmaxWithLoss", "score label", "loss"),
    ]
)
SHARED = "\n".join(
    [
        input_layer({"data": (6, 4), "label": (6,)}),
        layer(
            "ip1",
            "InnerProduct",
            "data",
            "a",
            'param { name: "w" lr_mult: 1 } inner_product_param { num_output: 4 }',
        ),
        layer("tanh", "TanH", "a", "a"),
        layer(
            "ip2",
            "InnerProduct",
            "a",
            "b",
            'param { name: "w" lr_mult: 1 } param { lr_mult: 0 } inner_product_param { num_output: 4 }',
        ),
        layer("bn", "BatchNorm", "b", "c"),
        layer("scale", "Scale", "c", "score", "scale_param { bias_term: true }"),
        layer("loss", "SoftmaxWithLoss", "score label", "loss"),
    ]
)
TYPES = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "delta: 0.001",
    "RMSProp": "rms_decay: 0.9 delta: 0.001",
    "AdaDelta": "momentum: 0.95 delta: 0.0001",
    "Adam": "momentum: 0.9 momentum2: 0.99 delta: 0.0001",
}
POLICIES = {
    "fixed": "",
    "step": "gamma: 0.5 stepsize: 3",
    "exp": "gamma: 0.8",
    "inv": "gamma: 0.3 power: 0.75",
    "multistep": "gamma: 0.3 stepvalue: 2 stepvalue: 5 stepvalue: 6",
    "poly": "power: 1.5 max_iter: 20",
    "sigmoid": "gamma: 0.7 stepsize: 4",
}
TEN: list[Step] = [("step", 1), ("record",), ("step", 4), ("record",), ("step", 5), ("record",)]
INPUTS = {"data": "gauss", "label": "ints 3"}


def solver(kind: str, extra: str, rate: float = 0.05, policy: str = "fixed") -> str:
    return (
        'type: "{}" base_lr: {:g} lr_policy: "{}" display: 0 max_iter: 100 snapshot: 0 '
        "solver_mode: CPU {} {} {}"
    ).format(kind, rate, policy, TYPES[kind], POLICIES[policy].replace("max_iter: 20", ""), extra)


def case(
    name: str, kind: str, text: str, net: str = NET, steps: Sequence[Step] = tuple(TEN), **more: Any
) -> Case:
    return Case(name, kind + " solver", net, phase=TRAIN, inputs=INPUTS, steps=steps, solver=text, **more)


def cases() -> list[Case]:
    found = []
    for kind in TYPES:
        for name, extra in (
            ("plain", ""),
            ("L2", "weight_decay: 0.02"),
            ("L1", 'weight_decay: 0.01 regularization_type: "L1"'),
            ("clipped", "clip_gradients: 0.3"),
            ("iter_size 2", "iter_size: 2 weight_decay: 0.02"),
        ):
            found.append(case(f"{kind} {name}", kind, solver(kind, extra)))
        for policy in POLICIES:
            found.append(case(f"{kind} {policy}", kind, solver(kind, "weight_decay: 0.01", policy=policy)))
        found.append(case(f"{kind} shared parameters", kind, solver(kind, "weight_decay: 0.01"), SHARED))
        for form in ("BINARYPROTO", "HDF5"):
            state = "snap_iter_5.solverstate" + (".h5" if form == "HDF5" else "")
            steps = [
                ("step", 5),
                ("snapshot",),
                ("step", 3),
                ("record",),
                ("restore", state),
                ("record",),
                ("step", 5),
                ("record",),
            ]
            found.append(
                case(
                    f"{kind} restored from {form}",
                    kind,
                    solver(kind, f"weight_decay: 0.01 snapshot_format: {form}", policy="inv"),
                    steps=steps,
                )
            )
    found.append(case("SGD without momentum", "SGD", solver("SGD", "").replace(TYPES["SGD"], "")))
    found.append(
        case("SGD by solver_type", "SGD", solver("SGD", "").replace('type: "SGD"', "solver_type: SGD"))
    )
    found.append(
        case("Adam by solver_type", "Adam", solver("Adam", "").replace('type: "Adam"', "solver_type: ADAM"))
    )
    found.append(
        case(
            "poly to its end",
            "SGD",
            solver("SGD", "", policy="poly").replace("max_iter: 100", "max_iter: 12"),
        )
    )
    found.append(case("AdaGrad with momentum", "AdaGrad", solver("AdaGrad", "momentum: 0.9"), refused=True))
    found.append(case("RMSProp with momentum", "RMSProp", solver("RMSProp", "momentum: 0.9"), refused=True))
    for policy in ("step", "exp", "inv", "multistep", "sigmoid"):
        text = solver("SGD", "", policy=policy).replace("gamma: ", "gamma: -")
        found.append(case(f"{policy} with gamma below zero", "SGD", text, refused=True))
    found.append(case("no such policy", "SGD", solver("SGD", "").replace("fixed", "linear"), refused=True))
    return found
