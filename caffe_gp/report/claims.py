"""A claim of the paper beside what was found: what a report page says first.

Claim("GP improves every pretrained net", "Table 1", "gain in mean IU, points", "+0.8 to +3.0", "+2.72",
      *above_zero([gain]))
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Iterable, Protocol, Sequence, Tuple


class Verdict(str, Enum):
    """Whether a claim holds here. OPEN: the page shows it, and no number decides."""

    HOLDS = "holds"
    WEAKLY = "holds weakly"
    NOT = "does not hold"
    OPEN = "not judged"


Judged = Tuple[Verdict, str]  # a verdict and the rule that gave it


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, measured again.

    text      the paper's claim, a sentence
    source    where the paper says so: 'Table 1', 'Section 3.1.1'
    measure   what the two values are, with their unit
    paper     its value or values; 'none stated' where the paper gives no number
    ours      what was found
    verdict, rule   whether it holds, and how that was decided
    """

    text: str
    source: str
    measure: str
    paper: str
    ours: str
    verdict: Verdict
    rule: str

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "verdict": self.verdict.value}

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Claim:
        """What ``record`` gave. ValueError or TypeError for what it did not."""
        return cls(**{**record, "verdict": Verdict(record["verdict"])})


class Interval(Protocol):
    """A gain with its 95 % interval, such as an ``evaluation.bootstrap.Gain``."""

    gain: float
    low: float
    high: float


def above_zero(gains: Sequence[Interval]) -> Judged:
    """Gains that should all be positive."""
    if len(gains) > 1:
        rule = "Holds: every 95 % interval lies above 0. Weakly: every gain does, not every interval."
    else:
        rule = "Holds: the whole 95 % interval lies above 0. Weakly: the gain does, not the whole interval."
    if all(gain.low > 0 for gain in gains):
        return Verdict.HOLDS, rule
    return (Verdict.WEAKLY if all(gain.gain > 0 for gain in gains) else Verdict.NOT), rule


def in_cases(met: int, of: int, rule: str) -> Judged:
    """Some of several cases should be so: holds for all of them, weakly for more than half."""
    verdict = Verdict.HOLDS if met == of else Verdict.WEAKLY if 2 * met > of else Verdict.NOT
    return verdict, f"{rule} Holds: all. Weakly: more than half."


def overall(claims: Iterable[Claim]) -> Verdict:
    """Of several claims: the verdict of all of them together."""
    judged = [claim.verdict for claim in claims if claim.verdict is not Verdict.OPEN]
    if not judged:
        return Verdict.OPEN
    if all(verdict is Verdict.HOLDS for verdict in judged):
        return Verdict.HOLDS
    return Verdict.NOT if all(verdict is Verdict.NOT for verdict in judged) else Verdict.WEAKLY
