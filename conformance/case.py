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
RECORDER = 3  # raised when what run_case.py keeps of a case changes: older recordings are then made anew
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

    name      unique; with ``seed`` it decides every random number
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
    seed      other values of the same kind: the recorder raises it until the case is stable, and keeps it
              with the recording
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
    seed: int = 0

    @property
    def fingerprint(self) -> str:
        """Changes with everything that decides the numbers but the seed."""
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
        seed = f"|{self.seed}" if self.seed else ""
        return np.random.RandomState(zlib.crc32(f"{self.name}|{what}{seed}".encode()))
