"""What is computed from a memory's values and kept until they change."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch

T = TypeVar("T")
State = tuple[int, int, int]  # of a memory: which, how often changed as a whole, how often by torch
MOST_COMPARED = 1 << 23  # more than the largest 3 x 3 convolutions have, fewer than an FCN's fc6
_VERSIONS = itertools.count(1)  # no two are alike, of whatever memory


class _Now(NamedTuple, Generic[T]):
    value: T
    version: int
    shape: tuple[int, ...]
    state: State | None
    copy: torch.Tensor | None


class Memory(Protocol):
    """Whose values they are."""

    @property
    def state(self) -> State | None:
        """Equal as long as the values surely are what they were; None where they may change unseen."""

    def tensor(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The values; asking for them may change the state."""


class Kept(Generic[T]):
    """``compute`` of some values: computed anew when they have changed, and only then.

    Where somebody has a numpy view of the values, they are compared, bit by bit, with a copy; more than
    ``MOST_COMPARED`` count as changed.
    """

    def __init__(self, compute: Callable[[torch.Tensor], T]) -> None:
        self._compute = compute
        self._now: _Now[T] | None = None

    def of(self, memory: Memory, shape: tuple[int, ...]) -> tuple[T, int]:
        """What is computed of the values as they are now, and a number that is another when they are."""
        now = self._now  # another net's thread may put another one there
        if now is None or not _is_current(now, memory, shape):
            self._now = now = None  # let the last one go before there are two
            values = memory.tensor(shape)
            state = memory.state
            copied = state is None and values.numel() <= MOST_COMPARED
            copy = values.clone() if copied else None
            now = _Now(self._compute(values), next(_VERSIONS), shape, state, copy)
            self._now = now
        return now.value, now.version

    def stays(self, before: State, after: State | None) -> None:
        """The values are in another state, and the same."""
        now = self._now
        if now is not None and now.state == before:
            self._now = now._replace(state=after)


def _is_current(now: _Now[T], memory: Memory, shape: tuple[int, ...]) -> bool:
    if now.shape != shape:
        return False
    if now.state is not None:
        return memory.state == now.state
    values = memory.tensor(shape)
    return now.copy is not None and torch.equal(
        now.copy.view(torch.int32), values.contiguous().view(torch.int32)
    )
