"""What workers that label with one net share: the net with its method, and the threads of their process."""

from __future__ import annotations

from typing import Callable, Sequence

from caffe_gp import engines
from caffe_gp.evaluation.labeller import Labeller
from caffe_gp.evaluation.settings import Resolved
from caffe_gp.runs.batches import FittingParts


class LabellingWorker:
    """A labeller of its own in this process: a part of ``runs.task.Worker``."""

    def __init__(self, resolved: Resolved, device: str) -> None:
        """Take the settings' threads and load the net. Raises the errors of ``Labeller``."""
        self._resolved, self._settings, self._device = resolved, resolved.settings, device
        self._threads_before = int(engines.describe(self._settings.engine, device)["threads"])
        engines.load_caffe(self._settings.engine, device, self._settings.threads)
        self._labeller = Labeller(resolved, device)
        self._parts = FittingParts(self._settings.quiet)
        self.on_progress: Callable[[str], None] | None = None

    @property
    def changes(self) -> Sequence[str]:
        """What was done to the net."""
        return self._labeller.net.changes

    def close(self) -> None:
        """Give the process its threads back."""
        engines.load_caffe(self._settings.engine, self._device, self._threads_before)
