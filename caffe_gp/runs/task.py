"""What a run is made of: a task, which plans batches of items, and workers, which turn them into records."""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, Iterable, Mapping, Protocol, Sequence

Batch = Sequence[str]  # items that are computed together
Record = Dict[str, Any]  # what is found out about one item, JSON-ready: 'item', 'seconds' by step, ...
OnRecords = Callable[[Sequence[Record]], str]


class Worker(Protocol):
    """Lives in one process and holds a net.

    on_progress   called with a few words during long batches; may be set by whoever shows them
    """

    on_progress: Callable[[str], None] | None

    @property
    def changes(self) -> Sequence[str]:
        """What was done to the net, one sentence each."""

    def head(self) -> dict[str, Any]:
        """First line of this worker's file of records: 'key', and 'made', where the records come from."""

    def load(self, batch: Batch) -> Any:
        """What ``records`` needs of a batch's files; called in a thread while another batch is computed."""

    def records(self, batch: Batch, loaded: Any) -> Iterable[Sequence[Record]]:
        """The records of a loaded batch, those together that are finished together."""

    def close(self) -> object:
        """Leave the process as it was found."""


class Task(Protocol):
    """Everything that is to be computed. Travels to other processes and machines (pickle)."""

    @property
    def key(self) -> Mapping[str, Any]:
        """Every setting that the numbers depend on; computed once. A run with another key is refused."""

    @property
    def device(self) -> str:
        """Where workers compute unless they are given devices."""

    @property
    def threads(self) -> int | None:
        """CPU threads of each worker; None: whatever the process has."""

    def items(self) -> Sequence[str]:
        """All items, in the order of the results."""

    def images_of(self, item: str) -> int:
        """How many images an item stands for: what progress is counted in."""

    def plan(self, todo: Collection[str]) -> list[Batch]:
        """Batches that hold the items ``todo``, planned so that any resumed run computes the same ones."""

    def is_current(self, item: str, record: Record) -> bool:
        """Whether an earlier record of one of the items still holds: its files are what they were."""

    def can_open_here(self) -> bool:
        """Whether a worker of this process would compute what one of a process of its own does."""

    def open(self, device: str) -> Worker:
        """A worker of this process."""

    def on_this_machine(self) -> Task:
        """The same task, read anew from the files and versions of the machine that this is called on."""
