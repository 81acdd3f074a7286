"""Solver states on disk: ``.solverstate`` (a SolverState message) and ``.solverstate.h5``, as in Caffe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from caffe_gp import proto
from caffe_gp.errors import WeightsError
from caffe_gp.files.atomic import replacing
from caffe_gp.files.hdf5 import UNREADABLE, Hdf5Error, Hdf5File
from caffe_gp.files.kinds import DAMAGED_HDF5, HDF5, HDF5_STATE
from caffe_gp.proto.mapped import refuse_other_files
from caffe_gp.proto.weights import MAX_HISTORY
from caffe_gp.proto.wire import INT_MAX

if TYPE_CHECKING:  # imported where it is used: binary states do without
    import h5py


class SolverState(NamedTuple):
    """What a solver needs besides its prototxt to go on."""

    iter: int
    learned_net: str  # path of the weights snapshot; empty if the file names none
    current_step: int
    history: Sequence[np.ndarray]  # float32, in Caffe's order


def read_state(path: str) -> SolverState:
    """Read either format, by the extension ``.h5`` as Caffe does. Raises WeightsError."""
    if path.endswith(".h5"):
        refuse_other_files(path, HDF5_STATE, HDF5, DAMAGED_HDF5)
        return _read_hdf5(path)
    state = proto.read_solverstate(path)
    return SolverState(
        state.iter, state.learned_net, state.current_step, [blob.array() for blob in state.history]
    )


def write_state(path: str, state: SolverState) -> None:
    """Write either format, by the extension, to a temporary name first. Raises WeightsError."""
    if path.endswith(".h5"):
        _write_hdf5(path, state)
    else:
        proto.write_solverstate(path, **state._asdict())


def _read_hdf5(path: str) -> SolverState:
    try:
        with Hdf5File(path) as file:
            history = file.child(file.root, "history")
            if len(history) > MAX_HISTORY:
                raise Hdf5Error(f"more than {MAX_HISTORY} blobs of history")
            has_name = file.child(file.root, "learned_net") is not None
            named = _values(file, file.root, "learned_net", "S").item() if has_name else b""
            return SolverState(
                # Caffe's integers are arrays of one element.
                _count(file, "iter"),
                named.decode(),
                _count(file, "current_step"),
                [_values(file, history, str(k), "f").astype(np.float32) for k in range(len(history))],
            )
    except UNREADABLE as error:
        raise WeightsError(f"{path}: not a readable HDF5 solverstate: {error}") from error


def _count(file: Hdf5File, name: str) -> int:
    count = int(_values(file, file.root, name, "iu").item())
    if not 0 <= count <= INT_MAX:
        raise Hdf5Error(f"'{name}' is {count}, expected 0 to {INT_MAX}")
    return count


def _values(file: Hdf5File, group: h5py.Group, name: str, kinds: str) -> np.ndarray:
    try:
        return file.values(file.child(group, name), kinds)
    except Hdf5Error as error:
        raise Hdf5Error(f"'{name}': {error}") from None


def _write_hdf5(path: str, state: SolverState) -> None:
    import h5py

    name = state.learned_net.encode()
    try:
        with replacing(path) as stream, h5py.File(stream, "w") as file:
            file.create_dataset("iter", data=np.array([state.iter], np.int32))
            # Of fixed length with a closing zero byte: Caffe reads no strings of variable length.
            file.create_dataset("learned_net", data=np.array(name, dtype=f"S{len(name) + 1}"))
            file.create_dataset("current_step", data=np.array([state.current_step], np.int32))
            group = file.create_group("history")
            for k, values in enumerate(state.history):
                group.create_dataset(str(k), data=values)
    except OSError as error:
        raise WeightsError(f"{path}: cannot write the solver state: {error}") from error
