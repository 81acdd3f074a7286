"""How far two runs of one of the zoo's nets are apart, and how far they may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conformance import agreement, closeness
from conformance.networks import nets

# Pixels: one in 10,000 would be none of these small maps.
LABELS_LIMIT = 2


@dataclass
class Verdict:
    """How far two runs of a net are apart.

    forward, backward   largest relative errors of the scores (with a CRF: before it, and after it on the same
                        scores), and of the diff at the input over the same activations
    base, moved         labels that differ, and those after a step along that diff
    far                 the same of the whole runs, each over its own activations
    """

    forward: float
    backward: float
    base: int
    moved: int
    far: agreement.Distance

    def agrees(self) -> bool:
        """Whether every bound holds."""
        return (
            self.forward <= closeness.FORWARD_LIMIT
            and self.backward <= closeness.BACKWARD_LIMIT
            and max(self.base, self.moved) <= LABELS_LIMIT
        )

    def numbers(self) -> dict[str, float]:
        """What is judged, by name."""
        return {
            "forward": self.forward,
            "backward": self.backward,
            "base": self.base,
            "moved": self.moved,
        }


def judge(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> Verdict:
    """``theirs`` is a result of ``nets.run``, and ``ours`` one that was given it."""
    far = agreement.distance(ours, theirs)
    forward = far.forward
    if name in nets.BEFORE_CRF:
        before = theirs["activations"][f"blob {nets.BEFORE_CRF[name]}"]
        forward = max(
            closeness.relative_error(ours["before_crf"], before),
            closeness.relative_error(ours["score_on"], theirs["score"]),
        )
    first = theirs["moved"][:1]
    return Verdict(
        forward,
        closeness.relative_error(ours["diff_on"], theirs["activations"]["diff"]),
        far.base,
        closeness.differing(ours["moved_on"].reshape(first.shape), first),
        far,
    )
