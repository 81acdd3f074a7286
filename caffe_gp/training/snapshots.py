"""A training's snapshots: which there are, which to resume from, none of a training that has diverged."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.files.kinds import HDF5_STATE, STATE, wrong_file
from caffe_gp.training import divergence

log = logging.getLogger(__name__)


def all_of(prefix: str | os.PathLike) -> list[Path]:
    """The solver states PREFIX_iter_N, in the order of N."""
    prefix = Path(prefix)
    found = prefix.parent.glob("*.solverstate*") if prefix.parent.is_dir() else ()
    pattern = re.escape(prefix.name) + r"_iter_(\d+)\.solverstate(\.h5)?"
    return sorted((path for path in found if re.fullmatch(pattern, path.name)), key=iteration_of)


def iteration_of(state: Path) -> int:
    """The N of PREFIX_iter_N.solverstate."""
    return int(state.name.partition(".solverstate")[0].rpartition("_")[2])


def weights_of(state: Path) -> Path:
    """The weights file beside a solver state."""
    return state.with_name(state.name.replace(".solverstate", ".caffemodel"))


def newest(prefix: str | os.PathLike) -> Path | None:
    """The solver state PREFIX_iter_N of the highest N whose weights are there too, and finite."""
    for state in reversed(all_of(prefix)):
        if weights_of(state).is_file() and divergence.weights_are_finite(weights_of(state)):
            return state
    return None


def chosen(recipe: Any, snapshot: str | os.PathLike | None, quiet: bool) -> Path | None:
    """The solver state to resume from. DataError if the one named will not do."""
    if snapshot is None:
        state = newest(recipe.snapshot_prefix)
        states = all_of(recipe.snapshot_prefix)
        newer = [path for path in states if state is None or states.index(path) > states.index(state)]
        if newer and not quiet:
            begins = f"resumes from {state}" if state is not None else "begins anew"
            log.warning("%s: of no use (weights missing, nan or infinite); %s", newer[-1], begins)
        return state
    state = Path(snapshot)
    wrong = wrong_file(state, STATE, HDF5_STATE)
    if wrong:
        raise DataError(f"{state}: {wrong}")
    if not (state.is_file() and weights_of(state).is_file()):
        raise DataError(f"{state}: no such snapshot (a .solverstate with its .caffemodel beside it)")
    if not divergence.weights_are_finite(weights_of(state)):
        good = newest(recipe.snapshot_prefix)
        hint = f"; the newest good one is {good}" if good is not None else ""
        raise DataError(f"{state}: its weights are nan or infinite: the training had diverged{hint}")
    return state


def drop_old(prefix: str | os.PathLike, keep: int | None, best: Path) -> None:
    """Keep the newest, to resume from, and the one with the weights ``best``; all for None."""
    for state in all_of(prefix)[:-keep] if keep is not None else ():
        if weights_of(state) != best:
            weights_of(state).unlink()
            state.unlink()


class Writer:
    """Writes a training's snapshots, and stops it where the loss or a parameter is nan or infinite.

    The loss of a snapshot's weights is that of the next iteration.
    """

    def __init__(self, recipe: Any, solver: Any, resumed: Path | None) -> None:
        """``resumed``: the solver state that the training has begun from."""
        self._recipe, self._solver, self._resumed = recipe, solver, resumed
        self._began, self._first = solver.iter, float("inf")
        self._losses: dict[int, float] = {}  # of the snapshots written here

    def write(self) -> None:
        """Write the snapshot of this iteration."""
        self._solver.snapshot()
        self._losses[self._solver.iter] = 0.0

    def check(self, loss: float, params: bool) -> None:
        """CaffeGPError if the iteration's loss or, if ``params``, a parameter is nan or infinite.

        The snapshots of a training that was already going astray are removed first.
        """
        before = self._solver.iter - 1
        if before == self._began:
            self._first = loss
        if before in self._losses:
            self._losses[before] = loss
        if not np.isfinite(loss):
            found = f"the loss is {loss}"
        elif params and not divergence.params_are_finite(self._solver.net):
            found = "a parameter is nan or infinite"
        else:
            return
        removed = self._remove_useless()
        raise CaffeGPError(
            divergence.message(
                before + 1,
                found,
                self._recipe.base_lr,
                removed=removed,
                resumed=self._resumed if before == self._began else None,
                newest=newest(self._recipe.snapshot_prefix),
            )
        )

    def _remove_useless(self) -> list[int]:
        """Remove the snapshots written here from the first whose loss is far above the first loss on."""
        limit = divergence.ASTRAY * self._first
        astray = [i for i, loss in self._losses.items() if not loss <= limit]
        useless = [i for i in self._losses if astray and i >= min(astray)]
        for state in all_of(self._recipe.snapshot_prefix):
            if iteration_of(state) in useless:
                weights_of(state).unlink()
                state.unlink()
        return useless
