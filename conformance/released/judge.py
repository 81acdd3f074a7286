"""How far two runs of a released net are apart, and how far they may be."""

from __future__ import annotations

from typing import Any

from conformance import agreement, closeness
from conformance.released.nets import Released

# A tie in a pooling window moves a value, and a few labels around it.
UNPOOLING_LABELS_LIMIT = 5e-4


def judge(net: Released, ours: dict[str, Any], theirs: dict[str, Any]) -> agreement.Verdict:
    """``theirs`` is a result of ``nets.run`` on BVLC Caffe, and ``ours`` one that was given it.

    With unpooling the scores are those on the other run's choice of maxima.
    """
    far = agreement.distance(ours, theirs)
    forward, backward = far.forward, None
    if "score_on" in ours:
        forward = closeness.relative_error(ours["score_on"], theirs["score"])
    if "diff_on" in ours:
        backward = closeness.relative_error(ours["diff_on"], theirs["activations"]["diff"])
    unpools = "Upsample" in theirs["replaced"]
    limit = far.pixels * (UNPOOLING_LABELS_LIMIT if unpools else closeness.LABELS_LIMIT)
    return agreement.Verdict(forward, backward, far.base, far.moved, far, limit, net.forward_limit)
