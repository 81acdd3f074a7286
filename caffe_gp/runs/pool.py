"""A run shared among processes of this machine: one for each GPU, or for a share of the CPUs.

Each worker opens the task, is handed batches one after the other and writes its own file of records. A worker
that dies (out of memory, killed) is reported and its batches go to the others.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker
from typing import Any, Callable, Iterator, Sequence

from caffe_gp.engines import thread_variables
from caffe_gp.errors import EngineError
from caffe_gp.runs.batches import loaded_ahead
from caffe_gp.runs.folder import RunFolder
from caffe_gp.runs.progress import is_log_shown, log_shown
from caffe_gp.runs.task import Batch, Record, Task

log = logging.getLogger(__name__)
# A batch being computed and one being decoded.
_IN_HAND = 2
_RESUMES = "the same command resumes where this one stopped"


def compute(
    task: Task,
    folder: RunFolder,
    todo: Sequence[Batch],
    devices: Sequence[str],
    quiet: bool,
    on_records: Callable[[Sequence[Record]], object],
) -> None:
    """Compute the batches ``todo`` with a worker on each device; their records are in the folder.

    They were given to ``on_records`` too. An error that a worker meets is raised here. EngineError if no
    worker is left, or if a batch has ended two of them.
    """
    waiting = deque(todo)
    killers: list[Batch] = []  # a worker died over these
    workers = [_start(task, folder, device, i) for i, device in enumerate(devices[: len(todo)])]
    alive = list(workers)
    try:
        while waiting or any(worker.in_hand for worker in alive):
            for worker in alive:
                while waiting and len(worker.in_hand) < _IN_HAND:
                    worker.give(waiting.popleft())
            for channel in connection.wait([worker.channel for worker in alive]):
                worker = next(worker for worker in alive if worker.channel is channel)
                message = worker.receive()
                if message is not None:
                    on_records(message)
                    continue
                alive.remove(worker)
                why = worker.obituary()
                waiting.extendleft(reversed(worker.in_hand))
                if worker.in_hand and worker.in_hand[0] in killers:
                    raise EngineError(f"{why}, over the same items as one before: {worker.in_hand[0]}")
                killers += worker.in_hand[:1]
                if not alive:
                    raise EngineError(f"{why}; no worker is left; {_RESUMES}")
                if not quiet:
                    log.warning("  %s; its images go to the others", why)
        for worker in alive:
            worker.dismiss()
    finally:
        for worker in workers:
            worker.stop()


@dataclass
class _Worker:
    """The parent's side of one process. ``in_hand``: batches given and not yet returned."""

    number: int
    process: Any
    channel: Any
    in_hand: list[Batch] = field(default_factory=list)

    def give(self, batch: Batch) -> None:
        self._send(batch)
        self.in_hand.append(batch)

    def receive(self) -> Sequence[dict] | None:
        """The records of its oldest batch; None if it has died. Raises the error that it met."""
        try:
            kind, value = self.channel.recv()
        except (EOFError, OSError):
            return None
        if kind == "error":
            raise value
        self.in_hand.pop(0)
        return value

    def obituary(self) -> str:
        self.process.join()
        code = self.process.exitcode
        how = f"exit code {code}"
        if code < 0:
            how = signal.Signals(-code).name
            if how == "SIGKILL":
                how += ", which is also how the system answers a lack of memory"
        return f"worker {self.number} (process {self.process.pid}) died: {how}"

    def dismiss(self) -> None:
        self._send(None)
        self.process.join()

    def stop(self) -> None:
        if self.process.is_alive():
            self.process.terminate()
        self.process.join()
        self.channel.close()

    def _send(self, message: Batch | None) -> None:
        try:
            self.channel.send(message)
        except OSError:  # it died: receive() will tell
            pass


def _start(task: Task, folder: RunFolder, device: str, number: int) -> _Worker:
    # Never forked: threads of the engine do not survive that.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    args = (task, folder, device, theirs, is_log_shown())
    process = context.Process(target=_work, args=args, daemon=True)
    with _threads_of_children(task.threads), _interrupts_held():
        process.start()
    theirs.close()
    return _Worker(number, process, ours)


@contextmanager
def _threads_of_children(threads: int | None) -> Iterator[None]:
    variables = thread_variables(threads)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process that starts here never sees Ctrl-C, even while it imports: its parent decides."""
    resource_tracker.ensure_running()  # its start, which the first process's causes, lets SIGINT in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---- the worker's side


def _work(task: Task, folder: RunFolder, device: str, channel: Any, log_is_shown: bool) -> None:
    with log_shown(log_is_shown):
        _answer(task, folder, device, channel)


def _answer(task: Task, folder: RunFolder, device: str, channel: Any) -> None:
    try:
        worker = task.open(device)
        with folder.new_records(worker.head()) as writer:
            for batch, loaded in loaded_ahead(_batches(channel), worker.load):
                found: list[Record] = []
                for records in worker.records(batch, loaded):
                    writer.write(*records)
                    found += records
                channel.send(("records", found))
    except BrokenPipeError:  # the parent is gone, and nobody waits for more
        pass
    except Exception as error:
        channel.send(("error", error))


def _batches(channel: Any) -> Iterator[Batch]:
    while True:
        try:
            batch = channel.recv()
        except (EOFError, OSError):
            return
        if batch is None:
            return
        yield batch
