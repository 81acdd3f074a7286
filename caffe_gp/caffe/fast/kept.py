"""What is computed from a blob's data and kept until they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from caffe_gp.caffe.blob import Blob, State

T = TypeVar("T")
MOST_COMPARED = 1 << 23  # more than the largest 3 x 3 convolutions have, fewer than an FCN's fc6


class Kept(Generic[T]):
    """``compute`` of a blob's data: computed anew when they have changed, and only then.

    Where somebody has a numpy view of the data, they are compared, bit by bit, with a copy; more than
    ``MOST_COMPARED`` values count as changed.
    ``version`` counts how often it was computed.
    """

    def __init__(self, compute: Callable[[torch.Tensor], T]) -> None:
        self._compute = compute
        self.version = 0
        self._value: T
        self._shape: tuple[int, ...]
        self._state: State | None = None
        self._copy: torch.Tensor | None = None

    def of(self, blob: Blob) -> T:
        """The value for the data as they are now."""
        values, state = blob.data_tensor, blob.data_state
        if not self._is_current(values, state):
            self._value, self._shape = self._compute(values), values.shape
            self.version += 1
            copied = state is None and values.numel() <= MOST_COMPARED
            self._state, self._copy = state, values.clone() if copied else None
        return self._value

    def _is_current(self, values: torch.Tensor, state: State | None) -> bool:
        if self._state is not None:
            return state == self._state and values.shape == self._shape
        if self._copy is None or self._copy.shape != values.shape:
            return False
        return torch.equal(self._copy.view(torch.int32), values.contiguous().view(torch.int32))
