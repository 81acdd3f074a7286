"""Caffe's file formats: prototxt, solver, caffemodel (V0, V1, V2), HDF5 weights and mean files.

For example:

    from caffe_gp import proto
    net = proto.read_net_param("deploy.prototxt")          # parsed, upgraded to today's dialect
    net = proto.filter_net(net, proto.messages.TEST)       # include / exclude rules applied
    weights = proto.read_weights("net.caffemodel")         # (layer name, blobs), memory-mapped
"""

from __future__ import annotations

import os
from typing import IO, Any, Mapping

from . import messages
from .filter import filter_net, layer_is_included, state_meets_rule
from .load import read_blob, read_solverstate, read_weights
from .save import write_blob, write_caffemodel, write_hdf5, write_solverstate
from .solver_rules import check_solver, check_type
from .text import (
    expand_variables,
    parse_message,
    read_text,
    reject_long_names,
    reject_mixed_dialects,
    reject_unset_names,
    to_text,
    write_text,
)
from .upgrade import complete_snapshot_prefix, upgrade_net, upgrade_solver
from .weights import WeightBlob, Weights

__all__ = [
    "messages",
    "read_net_param",
    "parse_net_param",
    "read_solver_param",
    "parse_solver_param",
    "check_solver",
    "check_type",
    "filter_net",
    "layer_is_included",
    "state_meets_rule",
    "to_text",
    "write_text",
    "upgrade_net",
    "Weights",
    "WeightBlob",
    "read_weights",
    "write_caffemodel",
    "write_hdf5",
    "read_blob",
    "write_blob",
    "read_solverstate",
    "write_solverstate",
]


def parse_net_param(
    text: str,
    filename: str = "<string>",
    *,
    phase: int | None = None,
    defines: Mapping[str, object] | None = None,
) -> messages.NetParameter:
    """A NetParameter from prototxt ``text``, upgraded to V2 as Caffe would.

    ``phase`` (messages.TRAIN or TEST): also drop the layers that are not in that phase.
    ``defines``: values for ``${NAME}`` placeholders. Without a value
    one may stay inside a string that is not the name of a layer or blob, such as a data layer's path.
    Raises PrototxtError (file:line:column and what is wrong) or NetError (contradictory rules).
    """
    text = expand_variables(text, defines, filename, strings_may_keep=True)
    param = parse_message(text, messages.NetParameter(), filename)
    reject_mixed_dialects(param, text, filename)
    param = upgrade_net(param, filename)
    reject_unset_names(param, text, filename)
    reject_long_names(param, filename)
    return param if phase is None else filter_net(param, phase)


def read_net_param(
    source: str | os.PathLike[str] | IO[Any],
    *,
    phase: int | None = None,
    defines: Mapping[str, object] | None = None,
) -> messages.NetParameter:
    """Like ``parse_net_param`` for the prototxt at path ``source`` (or an open file)."""
    return parse_net_param(read_text(source), _name(source), phase=phase, defines=defines)


def parse_solver_param(
    text: str, filename: str = "<string>", *, defines: Mapping[str, object] | None = None
) -> messages.SolverParameter:
    """A SolverParameter from prototxt ``text``; ``solver_type`` becomes ``type``. Raises PrototxtError."""
    text = expand_variables(text, defines, filename)
    solver = parse_message(text, messages.SolverParameter(), filename)
    upgrade_solver(solver, filename)
    return solver


def read_solver_param(
    source: str | os.PathLike[str] | IO[Any], *, defines: Mapping[str, object] | None = None
) -> messages.SolverParameter:
    """Like ``parse_solver_param`` for a file; a missing ``snapshot_prefix`` becomes the file's own stem."""
    name = _name(source)
    solver = parse_solver_param(read_text(source), name, defines=defines)
    complete_snapshot_prefix(solver, name)
    return solver


def _name(source: str | os.PathLike[str] | IO[Any]) -> str:
    """What messages call a file."""
    return str(getattr(source, "name", "<stream>") if hasattr(source, "read") else os.fspath(source))
