"""What a comparison case is: a net, seeded values for its inputs and parameters, and a list of steps.

A case says nothing about an engine. ``run_case.py`` runs it on either one. This file and the cases also run
in Debian 11 beside BVLC Caffe: Python 3.9, numpy 1.19.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Sequence, Tuple

import numpy as np

TRAIN, TEST = 0, 1
RECORDER = 2  # raised when what run_case.py keeps of a case changes: older recordings are then made anew
Step = Tuple  # a step's name and its arguments; run_case.py has one method a step

FORWARD_ONLY: list[Step] = [("forward",), ("record",)]
BOTH: list[Step] = [("forward",), ("record",), ("seed",), ("backward",), ("record",)]
# A second round on new values finds state that outlives a pass, and shows that parameter diffs accumulate.
TWICE: list[Step] = BOTH + [("refill",), ("forward",), ("seed",), ("backward",), ("record",)]


def reshaping(blobs: int, shapes: Sequence[Sequence[int]]) -> list[Step]:
    """Both passes at each of these shapes in turn, given to the inputs b0, b1, ... ``blobs`` of them."""
    steps: list[Step] = []
    for shape in shapes:
        steps += [("reshape", "b%d" % i) + tuple(shape) for i in range(blobs)]
        steps += [("refill",), ("forward",), ("seed",), ("backward",), ("record",)]
    return steps


@dataclass
class Case:
    """One net and what is done with it.

    name      unique; the seed of every random number is made from it
    layer     the row of docs/faithfulness.md that it counts for: a layer type, or a kind of net
    text      the net's prototxt; $DIR is replaced by a folder of the case's own
    inputs    blob name -> scheme of its values (see ``values``); blobs that are not named stay as they are
    params    layer name -> schemes of its parameter blobs, where the default (``default_param``) will not do
    steps     what to do
    solver    a solver's text without its net; the steps then drive the solver
    files     name of the function in case_files.py that writes the files that the net reads
    skip      'data/<blob>' and 'diff/<blob>' to leave out of the recording: what Caffe leaves undefined
    refused   BVLC Caffe aborts on this one; ours must raise a CaffeGPError
    ours      where ours differs on purpose: 'accepts' what BVLC Caffe aborts on, or
              'refuses' what it computes wrongly
    """

    name: str
    layer: str
    text: str
    phase: int = TEST
    inputs: dict[str, str] = field(default_factory=dict)
    params: dict[str, Sequence[str]] = field(default_factory=dict)
    steps: Sequence[Step] = tuple(BOTH)
    solver: str = ""
    files: str = ""
    skip: Sequence[str] = ()
    refused: bool = False
    ours: str = ""

    @property
    def fingerprint(self) -> str:
        """Changes with everything that decides the numbers."""
        parts = (
            RECORDER,
            self.text,
            self.phase,
            sorted(self.inputs.items()),
            sorted((k, list(v)) for k, v in self.params.items()),
            [tuple(step) for step in self.steps],
            self.solver,
            self.files,
            list(self.skip),
        )
        return f"{zlib.crc32(repr(parts).encode()):08x}"

    def random(self, what: str) -> np.random.RandomState:
        """Numbers for one purpose of this case, the same on every machine."""
        return np.random.RandomState(zlib.crc32((f"{self.name}|{what}").encode()))


def values(scheme: str, shape: Sequence[int], random: np.random.RandomState) -> np.ndarray:
    """Values by scheme, a kind with an argument or none: 'gauss', 'gauss 0.5', 'ties', 'ints 5', ..."""
    kind, _, argument = scheme.partition(" ")
    if kind == "gauss":
        array = random.randn(*shape) * float(argument or 1)
    elif kind == "positive":  # away from zero
        array = np.abs(random.randn(*shape)) * 0.3 + 0.05
    elif kind == "ties":  # few different values, so that maxima tie
        array = random.randint(0, 3, shape)
    elif kind == "ints":
        array = random.randint(0, int(argument), shape)
    elif kind == "labels":  # 'labels N IGNORED': ints below N with about a fifth ignored
        classes, ignored = map(int, argument.split())
        array = random.randint(0, classes, shape)
        array = np.where(random.rand(*shape) < 0.2, ignored, array)
    elif kind == "const":
        array = np.full(shape, float(argument))
    elif kind == "alternate":
        array = (np.arange(int(np.prod(shape))) % 2).reshape(shape)
    elif (
        kind == "continue"
    ):  # the continuation marks of a recurrent net, (time, batch): sequences start now and then
        array = (random.rand(*shape) > 0.3).astype(float)
        array[0] = 0
    elif kind == "image":  # grey levels with a mean subtracted
        array = random.randint(0, 256, shape) - 110.0
    elif kind == "count":
        array = np.arange(int(np.prod(shape))).reshape(shape)
    else:
        raise ValueError(f"unknown scheme {scheme!r}")
    return np.asarray(array, np.float32)


def default_param(layer_type: str, index: int, shape: Sequence[int]) -> str:
    """The scheme of a parameter blob: keeps activations of order one through deep nets."""
    if layer_type == "BatchNorm":
        return ("gauss", "positive", "const 3.5")[index]
    if len(shape) >= 2:
        fan_in = max(1, int(np.prod(shape[1:])))
        return "gauss %.9g" % (1.0 / np.sqrt(fan_in))
    return "gauss 0.5"


# ---- prototxt text


def dims(shape: Sequence[int]) -> str:
    return " ".join("dim: %d" % size for size in shape)


def input_layer(blobs: dict[str, Sequence[int]]) -> str:
    """One Input layer for several blobs."""
    return 'layer {{ name: "input" type: "Input" {} input_param {{ {} }} }}'.format(
        " ".join(f'top: "{name}"' for name in blobs),
        " ".join(f"shape {{ {dims(shape)} }}" for shape in blobs.values()),
    )


def layer(
    name: str, kind: str, bottoms: Sequence[str] | str, tops: Sequence[str] | str, extra: str = ""
) -> str:
    """One layer's text. ``bottoms`` and ``tops`` are blob names, or one string of names between blanks."""
    bottoms = bottoms.split() if isinstance(bottoms, str) else bottoms
    tops = tops.split() if isinstance(tops, str) else tops
    blobs = [f'bottom: "{b}"' for b in bottoms] + [f'top: "{t}"' for t in tops]
    return 'layer {{ name: "{}" type: "{}" {} {} }}'.format(name, kind, " ".join(blobs), extra)


class LayerCases:
    """Collects cases of single layers: a net of one Input layer and the layer under test."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def add(
        self,
        kind: str,
        extra: str,
        *shapes: Sequence[int],
        schemes: Sequence[str] | None = None,
        tops: int = 1,
        phase: int = TEST,
        in_place: bool = False,
        backward: str = "all",
        params: Sequence[str] | None = None,
        steps: Sequence[Step] | None = None,
        **more,
    ) -> Case:
        """One case of layer type ``kind`` with parameters ``extra`` and inputs b0, b1, ... of ``shapes``.

        backward: 'all' (force_backward), 'none', or 'first N': only the first N inputs want a diff. Those
        then come through a Bias layer with learned parameters, as force_backward would ask for all.
        """
        schemes = list(schemes or []) + ["gauss"] * (len(shapes) - len(schemes or []))
        names = ["b%d" % i for i in range(len(shapes))]
        lines = ["force_backward: true"] if backward == "all" else []
        if shapes:
            lines.append(input_layer(dict(zip(names, shapes))))
        bottoms = list(names)
        if backward.startswith("first"):
            for i in range(int(backward.split()[1])):
                bottoms[i] = "c%d" % i
                lines.append(
                    layer("probe%d" % i, "Bias", names[i], bottoms[i], "bias_param { axis: 0 num_axes: 0 }")
                )
        top_names = ["t%d" % i for i in range(tops)]
        if in_place:
            top_names[0] = bottoms[0]
        # Without a loss downstream Caffe runs no backward unless forced.
        if backward.startswith("first"):
            extra += "" if "loss_weight" in extra else " loss_weight: 1" * tops
        lines.append(layer("L", kind, bottoms, top_names, extra))
        if backward.startswith(
            "first"
        ):  # the probes' own diffs are sums over everything, often of terms that cancel
            more["skip"] = list(more.get("skip", ())) + [
                "param_diff/probe%d/0" % i for i in range(len(shapes))
            ]
        if steps is None:
            steps = FORWARD_ONLY if backward == "none" else TWICE
        words = [
            kind,
            extra,
            ", ".join("x".join(map(str, shape)) for shape in shapes),
            "in place" if in_place else "",
            "%d tops" % tops if tops != 1 else "",
            "TRAIN" if phase == TRAIN else "",
            backward if backward != "all" else "",
            ", ".join(sorted(set(schemes) - {"gauss"})),
            "reshaped" if ("reshape" in [s[0] for s in steps]) else "",
        ]
        name = " ".join(" ".join(words).split())
        same = sum(case.name.split(" #")[0] == name for case in self.cases)
        case = Case(
            name="%s #%d" % (name, same + 1) if same else name,
            layer=kind,
            text="\n".join(lines),
            phase=phase,
            inputs=dict(zip(names, schemes)),
            params={"L": params} if params else {},
            steps=steps,
            **more,
        )
        self.cases.append(case)
        return case
