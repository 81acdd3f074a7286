"""How far two runs of a net are apart, and how far they may be."""

from __future__ import annotations

from typing import Any

from conformance import agreement, closeness
from conformance.forks.nets import ForkNet

# A tie in a pooling window moves a value, and a few labels around it.
UNPOOLING_LABELS_LIMIT = 5e-4


def judge(net: ForkNet, ours: dict[str, Any], theirs: dict[str, Any]) -> agreement.Verdict:
    """``theirs`` is a result of ``nets.run`` on BVLC Caffe, and ``ours`` one that was given it.

    Where all blobs are known the scores are those with the other run's pooling masks.
    """
    far = agreement.distance(ours, theirs)
    forward, backward = far.forward, None
    if "score_on" in ours:
        first = theirs["activations"][f"blob {net.score}"]
        forward = closeness.relative_error(ours["score_on"], first)
        backward = closeness.relative_error(ours["diff_on"], theirs["activations"]["diff"])
    limit = far.pixels * UNPOOLING_LABELS_LIMIT
    return agreement.Verdict(forward, backward, far.base, far.moved, far, limit, net.forward_limit)
