"""How far a case moves by itself: BVLC Caffe runs it again with everything moved a little (see ``moves``)."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np

from caffe_gp import engines
from caffe_gp.errors import EngineError
from conformance.case import Case
from conformance.moves import SIZE, Mover
from conformance.outcome import Outcome, compare_arrays
from conformance.run_case import Run

# Every move is this many times SIZE. The further ones find kinks that lie a little further away; they may
# change the result further in proportion.
FACTORS = (1, 1, 1, 1, 5, 5, 5, 5)


class MovedRun(Run):
    """A run with its inputs, parameters and all that its layers compute moved."""

    def __init__(self, caffe: Any, case: Case, folder: str, mover: Mover) -> None:
        self.mover = mover
        super().__init__(caffe, case, folder)

    def _make_net(self) -> Any:
        net = super()._make_net()
        self.mover.follow(net)
        return net

    def values(self, scheme: str, shape: Any, what: str) -> np.ndarray:
        return self.mover(super().values(scheme, shape, what))


@dataclass
class Change:
    """How far a case moved by itself.

    forward, backward   the largest errors, as ``outcome.compare_arrays`` measures them, for a move of SIZE
    labels              how many labels changed
    problems            why the case is unstable; empty if it is not
    """

    forward: float
    backward: float
    labels: int
    problems: list[str]


def own_change(caffe: Any, case: Case, arrays: Mapping[str, np.ndarray]) -> Change:
    """Move ``case`` some times, in child processes; ``arrays`` is what it gives unmoved."""
    with tempfile.TemporaryDirectory() as folder:

        def move(number: int) -> Outcome:
            own_folder = os.path.join(folder, str(number))
            os.makedirs(own_folder, exist_ok=True)
            mover = Mover(case.random(f"move {number}"), SIZE * FACTORS[number])
            outcome = Outcome()
            run = MovedRun(caffe, case, own_folder, mover).run()
            compare_arrays(run.arrays, arrays, outcome, FACTORS[number])
            return outcome

        numbers = range(len(FACTORS))
        try:
            outcomes = engines.run_guarded(lambda: [move(number) for number in numbers])
        except EngineError:  # some cases scribble over memory, and BVLC Caffe dies of several in one process
            outcomes = [engines.run_guarded(move, number) for number in numbers]
    return Change(
        max(outcome.forward / factor for factor, outcome in zip(FACTORS, outcomes)),
        max(outcome.backward / factor for factor, outcome in zip(FACTORS, outcomes)),
        max(outcome.labels for outcome in outcomes),
        [problem for outcome in outcomes for problem in outcome.problems],
    )
