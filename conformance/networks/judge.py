"""How far two runs of one of the zoo's nets are apart, and how far they may be."""

from __future__ import annotations

from typing import Any

from conformance import agreement, closeness
from conformance.networks import nets

# Pixels: one in 10,000 would be none of these small maps.
LABELS_LIMIT = 2


def judge(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> agreement.Verdict:
    """``theirs`` is a result of ``nets.run``, and ``ours`` one that was given it.

    With a CRF the scores are those before it, and those after it on the same scores. The step is one along
    the diff over the same activations.
    """
    far = agreement.distance(ours, theirs)
    forward = far.forward
    if name in nets.BEFORE_CRF:
        before = theirs["activations"][f"blob {nets.BEFORE_CRF[name]}"]
        forward = max(
            closeness.relative_error(ours["before_crf"], before),
            closeness.relative_error(ours["score_on"], theirs["score"]),
        )
    first = theirs["moved"][:1]
    return agreement.Verdict(
        forward,
        closeness.relative_error(ours["diff_on"], theirs["activations"]["diff"]),
        far.base,
        closeness.differing(ours["moved_on"].reshape(first.shape), first),
        far,
        LABELS_LIMIT,
    )
