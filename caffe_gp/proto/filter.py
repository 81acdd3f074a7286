"""Which layers a net has in a given state: the include and exclude rules (Net::FilterNet)."""

from __future__ import annotations

from typing import Iterable

from ..errors import NetError
from . import messages as pb


def state_meets_rule(state: pb.NetState, rule: pb.NetStateRule) -> bool:
    """True if the NetState ``state`` satisfies every field that the NetStateRule ``rule`` sets."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    stages = set(state.stage)
    return stages.issuperset(rule.stage) and stages.isdisjoint(rule.not_stage)


def layer_is_included(layer: pb.LayerParameter, state: pb.NetState) -> bool:
    """True if ``layer`` belongs to a net in ``state``: any include rule met, or no exclude rule met.

    Raises NetError for a layer that has both kinds, as Caffe does.
    """
    if len(layer.include) and len(layer.exclude):
        raise NetError(f"layer '{layer.name}': specify either include rules or exclude rules, not both")
    if len(layer.include):
        return any(state_meets_rule(state, rule) for rule in layer.include)
    return not any(state_meets_rule(state, rule) for rule in layer.exclude)


def filter_net(
    param: pb.NetParameter, phase: int, level: int = 0, stages: Iterable[str] = ()
) -> pb.NetParameter:
    """A copy of ``param`` (V2) holding only the layers of the given state, which is recorded in it.

    ``phase`` is pb.TRAIN or pb.TEST; ``stages`` are added to those the net's own ``state`` names, and
    ``level`` replaces its level, as Caffe's Net constructor does.
    """
    state = pb.NetState()
    state.CopyFrom(param.state)
    state.phase = phase
    state.level = level
    state.stage.extend(stages)
    filtered = pb.NetParameter()
    filtered.CopyFrom(param)
    filtered.state.CopyFrom(state)
    del filtered.layer[:]
    filtered.layer.extend(layer for layer in param.layer if layer_is_included(layer, state))
    return filtered
