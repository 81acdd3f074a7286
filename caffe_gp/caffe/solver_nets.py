"""The nets that a solver prototxt names: one to train and any number to test."""

from __future__ import annotations

import os
from typing import Any

from caffe_gp import proto
from caffe_gp.caffe.net import Net
from caffe_gp.errors import PrototxtError
from caffe_gp.proto import messages as pb


def make_train_net(solver: Any, source: str) -> Net:
    """The net that a SolverParameter trains, in the TRAIN phase; ``source`` names the solver in messages.

    Raises PrototxtError unless exactly one of its fields names a net.
    """
    fields = ("net", "net_param", "train_net", "train_net_param")
    given = [field for field in fields if solver.HasField(field)]
    if len(given) != 1:
        raise PrototxtError(
            f"{source}: SolverParameter must specify a train net using one of these fields: "
            f"{', '.join(fields)}; found {', '.join(given) or 'none'}"
        )
    param, name = _net_param(given[0], getattr(solver, given[0]), source)
    return _build(param, name, pb.TRAIN, solver.train_state)


def make_test_nets(solver: Any, source: str) -> list[Net]:
    """The nets that a SolverParameter tests, in the TEST phase, one for each ``test_iter``.

    A net of its own for each, then the train net's description for the rest. Raises PrototxtError where the
    numbers of nets, ``test_iter`` and ``test_state`` do not go together.
    """
    generic = [(f, getattr(solver, f)) for f in ("net_param", "net") if solver.HasField(f)]
    own = [(f, net) for f in ("test_net_param", "test_net") for net in getattr(solver, f)]
    runs = len(solver.test_iter)
    if generic:
        if runs < len(own):
            raise PrototxtError(f"{source}: test_iter must be specified for each test network")
        own += generic * (runs - len(own))
    elif runs != len(own):
        raise PrototxtError(
            f"{source}: test_iter must be specified for each test network: {runs} for {len(own)} nets"
        )
    states = list(solver.test_state)
    if states and len(states) != len(own):
        raise PrototxtError(
            f"{source}: test_state must be unspecified or specified once per test net: "
            f"{len(states)} for {len(own)} nets"
        )
    if own and solver.test_interval < 1:
        raise PrototxtError(f"{source}: test nets need a positive test_interval")
    states = states or [pb.NetState()] * len(own)
    return [_build(*_net_param(*net, source), pb.TEST, state) for net, state in zip(own, states)]


def _net_param(field: str, given: Any, source: str) -> tuple[Any, str]:
    """(NetParameter, its name for messages) of what a field holds: a message, or a path."""
    if not isinstance(given, str):
        return proto.upgrade_net(given, f"{source} ({field})"), f"{source} ({field})"
    if not os.path.exists(given):
        raise PrototxtError(
            f"{source}: {field}: there is no file '{given}'; paths in a solver file are relative "
            f"to the current directory, {os.getcwd()}"
        )
    return proto.read_net_param(given), given


def _build(param: Any, source: str, phase: int, state: Any) -> Net:
    # Lowest precedence first: the solver's phase, the net's own state, train_state or test_state.
    merged = pb.NetState(phase=phase)
    merged.MergeFrom(param.state)
    merged.MergeFrom(state)
    return Net.from_param(param, merged.phase, level=merged.level, stages=tuple(state.stage), source=source)
