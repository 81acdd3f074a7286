"""How a training that diverged is recognised, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np

from caffe_gp import proto
from caffe_gp.errors import WeightsError

#: A training whose loss is so many times what it was at first is going astray.
ASTRAY = 10.0


def params_are_finite(net: Any) -> bool:
    """Whether no parameter of a net is nan or infinite."""
    return all(np.isfinite(blob.data).all() for blobs in net.params.values() for blob in blobs)


def weights_are_finite(path: Path) -> bool:
    """Whether no value of a weights file is nan or infinite. True for a damaged one: loading it says so."""
    try:
        with proto.read_weights(str(path)) as weights:
            arrays = [blob.array() for _, blobs in weights for blob in blobs if blob is not None]
            return all(np.isfinite(array).all() for array in arrays)
    except WeightsError:
        return True


def message(
    iteration: int,
    found: str,
    base_lr: float,
    *,
    removed: Sequence[int],
    resumed: Path | None,
    newest: Path | None,
) -> str:
    """What happened and what to do.

    iteration  updates made, that of this iteration included
    found      'the loss is nan'
    removed    iterations of snapshots that were removed
    resumed    the solver state that this very iteration began from
    newest     the solver state that the same command would resume from
    """
    said = f"iteration {iteration}: {found}"
    data = "look for nan and huge values in the data, labels out of range and too large fillers or weights"
    if resumed is not None:
        return (
            f"{said}, in the first iteration after {resumed}: that snapshot had diverged already. Remove it, "
            "or give an earlier one with --snapshot, or begin anew in another folder with --out"
        )
    if iteration == 1 and "loss" in found:
        return f"{said} before anything was learned, so base_lr is not to blame: {data}"
    then = f"resumes from {newest}" if newest is not None else "begins anew, for there is no good snapshot"
    listed = ", ".join(map(str, removed))
    gone = f" (snapshots of diverging weights were removed: iterations {listed})" if removed else ""
    return (
        f"{said}: the training has diverged. Lower base_lr below {base_lr:g}, to a tenth of it for a start "
        f"(or set clip_gradients); the same command then {then}{gone}. If that does not help, {data}"
    )
