"""Ctrl-C while training: stop after the iteration at hand, with a snapshot, as the ``caffe`` tool does."""

from __future__ import annotations

import signal
from enum import Enum
from types import FrameType
from typing import Any


class Action(Enum):
    """What a solver's action function may ask for after an iteration or between test batches."""

    NONE = 0
    STOP = 1
    SNAPSHOT = 2


class SignalHandler:
    """While entered, SIGINT and SIGHUP become requests that a solver serves between iterations.

        with SignalHandler() as requests:
            solver.set_action_function(requests)
            solver.solve()

    By default SIGINT (Ctrl-C) stops - ``solve`` then snapshots - and SIGHUP snapshots and goes on, as the
    ``caffe`` tool's ``--sigint_effect`` and ``--sighup_effect``. A second Ctrl-C before the first was
    served raises KeyboardInterrupt. Works in the main thread only, as Python's signals do.
    """

    def __init__(self, sigint: Action = Action.STOP, sighup: Action = Action.SNAPSHOT) -> None:
        self._actions = {signal.SIGINT: sigint}
        if hasattr(signal, "SIGHUP"):
            self._actions[signal.SIGHUP] = sighup
        self._pending: list[Action] = []
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> SignalHandler:
        self._previous = {number: signal.signal(number, self._note) for number in self._actions}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __call__(self) -> Action:
        """The oldest request that was not served yet, else NONE."""
        return self._pending.pop(0) if self._pending else Action.NONE

    def _note(self, number: int, frame: FrameType | None) -> None:
        action = self._actions[signal.Signals(number)]
        if number == signal.SIGINT and action in self._pending:
            raise KeyboardInterrupt
        self._pending.append(action)
