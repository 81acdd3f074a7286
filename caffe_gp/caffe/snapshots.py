"""A solver's snapshots: the weights and the solver state, written together and restored together."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from caffe_gp.caffe.net import Net
from caffe_gp.caffe.solver_state import SolverState, read_state, write_state
from caffe_gp.errors import PrototxtError, WeightsError
from caffe_gp.proto import messages as pb

log = logging.getLogger(__name__)


def check_folder(param: Any, source: str) -> None:
    """Find out before the training, not at the first snapshot, that a snapshot cannot be written.

    ``param`` is a SolverParameter, ``source`` its name for the PrototxtError.
    """
    if not param.snapshot_prefix:
        raise PrototxtError(f"{source}: snapshot is specified but snapshot_prefix is not")
    folder = os.path.dirname(param.snapshot_prefix) or "."
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise PrototxtError(
            f"{source}: Cannot write to snapshot prefix '{param.snapshot_prefix}': "
            f"make sure that the directory '{folder}' exists and is writable"
        )


def write_snapshot(
    net: Net, param: Any, source: str, iteration: int, current_step: int, history: Sequence[torch.Tensor]
) -> None:
    """Write ``<snapshot_prefix>_iter_<n>.caffemodel`` and ``.solverstate`` (``.h5`` for HDF5).

    ``param`` is the SolverParameter; ``history`` holds the update rule's tensors. Raises PrototxtError
    without a prefix, WeightsError for files that cannot be written.
    """
    if not param.snapshot_prefix:
        raise PrototxtError(f"{source}: snapshot_prefix is not set, so a snapshot has no name")
    hdf5 = param.snapshot_format == pb.SolverParameter.HDF5
    stem, extension = f"{param.snapshot_prefix}_iter_{iteration}", ".h5" if hdf5 else ""
    kind = "HDF5" if hdf5 else "binary proto"
    model, state = f"{stem}.caffemodel{extension}", f"{stem}.solverstate{extension}"
    log.info("Snapshotting to %s file %s", kind, model)
    save = net.save_hdf5 if hdf5 else net.save
    save(model, param.snapshot_diff)
    log.info("Snapshotting solver state to %s file %s", kind, state)
    arrays = [tensor.cpu().numpy() for tensor in history]
    write_state(state, SolverState(iteration, model, current_step, arrays))


def restore_snapshot(path: str, net: Net, history: Sequence[torch.Tensor], solver_type: str) -> SolverState:
    """Read a solverstate: its history into ``history``, the weights that it names into ``net``.

    Returns the state, for its iteration and step. Raises WeightsError, before anything is changed, for the
    history of another solver type or net.
    """
    state = read_state(path)
    if len(history) != len(state.history):
        raise WeightsError(
            f"{path}: Incorrect length of history blobs: the solver {solver_type} keeps {len(history)}, "
            f"the file holds {len(state.history)}; was it written by another solver type or net?"
        )
    for k, (mine, theirs) in enumerate(zip(history, state.history)):
        if mine.numel() != theirs.size:
            raise WeightsError(
                f"{path}: history blob {k}: expected {tuple(mine.shape)}, found {theirs.shape}"
            )
    if state.learned_net:
        net.copy_from(_beside_if_moved(state.learned_net, path))
    for mine, theirs in zip(history, state.history):
        mine.copy_(torch.from_numpy(np.array(theirs, np.float32)).view(mine.shape))
    return state


def _beside_if_moved(model: str, state: str) -> str:
    """The weights file that a state names, or its namesake beside the state when only that exists."""
    beside = os.path.join(os.path.dirname(state), os.path.basename(model))
    return beside if not os.path.exists(model) and os.path.exists(beside) else model
