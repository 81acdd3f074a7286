"""The one way to run a task: what is missing is computed here, by processes of this machine or by a cluster.

    folder = run(task, RunFolder("out"), workers=2)

A run can be stopped at any time and resumed with any number of workers: batches are planned from the items
alone, and their records are merged by item.
"""

from __future__ import annotations

import logging
from typing import Sequence

from caffe_gp.runs.batches import loaded_ahead
from caffe_gp.runs.folder import RunFolder
from caffe_gp.runs.progress import OnProgress, progress_bar
from caffe_gp.runs.records import as_read_back
from caffe_gp.runs.task import Batch, OnRecords, Record, Task

log = logging.getLogger(__name__)


def run(
    task: Task,
    folder: RunFolder,
    *,
    workers: int = 1,
    devices: Sequence[str] = (),
    cluster: str | None = None,
    quiet: bool = False,
    on_records: OnRecords | None = None,
    on_progress: OnProgress | None = None,
) -> RunFolder:
    """Compute the records that the folder does not hold yet; returns the folder.

    workers      processes on this machine, or actors of ``cluster``
    devices      one worker for each, instead of the task's device and ``workers``
    cluster      None, or a Ray cluster: 'local', 'auto' or 'ray://host:port' (see ``cluster.py``)
    on_records   called with new records as they come, first with those that are there; what it returns is
                 shown beside the progress bar
    on_progress  called as ``on_progress(done, total, what)`` whenever the bar moves, ``quiet`` or not: images
                 with those that were there, and the words beside the bar
    Whatever happens, the same call resumes where this one stopped. Raises what the task's workers raise;
    DataError, naming the setting, for a folder with a run of another key; EngineError when all workers have
    died.
    """
    key = as_read_back(task.key)
    items = list(task.items())
    wanted = set(items)
    finished = folder.finished(key, lambda item, record: item in wanted and task.is_current(item, record))
    missing = [item for item in items if item not in finished]
    todo = task.plan(missing) if missing else []
    if todo or not folder.is_reported() or not folder.lists(items):
        folder.begin(key, items)
    with _Progress(task, finished, quiet, on_records, on_progress) as progress:
        if not todo:
            return folder
        if cluster is not None:
            from caffe_gp.runs import cluster as ray_cluster

            ray_cluster.compute(task, folder, key, todo, workers, cluster, progress)
        elif workers > 1 or len(devices) > 1 or not task.can_open_here():
            from caffe_gp.runs import pool

            pool.compute(task, folder, todo, devices or [task.device] * workers, quiet, progress)
        else:
            _compute_here(task, folder, todo, (*devices, task.device)[0], quiet, progress)
    return folder


class _Progress:
    """The bar, moved by records as they come; a record that is there already does not count again."""

    def __init__(
        self,
        task: Task,
        finished: dict[str, Record],
        quiet: bool,
        on_records: OnRecords | None,
        on_progress: OnProgress | None,
    ) -> None:
        items = task.items()
        self._images_of, self._on_records, self._on_progress = task.images_of, on_records, on_progress
        self._seen = {item for item in items if item in finished}
        self._total, self._done = (sum(map(task.images_of, some)) for some in (items, self._seen))
        self._bar = progress_bar(self._total, initial=self._done, quiet=quiet)
        self._tell([finished[item] for item in items if item in finished], 0)

    def __call__(self, records: Sequence[Record]) -> None:
        new = [record for record in records if record["item"] not in self._seen]
        self._seen.update(record["item"] for record in new)
        self._tell(new, sum(self._images_of(record["item"]) for record in new))

    def say(self, words: str) -> None:
        """Show words beside the bar; tell them to ``on_progress``."""
        self._bar.set_postfix_str(words)
        if self._on_progress is not None:
            self._on_progress(self._done, self._total, words)

    def _tell(self, records: Sequence[Record], images: int) -> None:
        words = self._on_records(records) if self._on_records is not None else ""
        if self._on_records is not None:
            self._bar.set_postfix_str(words, refresh=False)
        self._bar.update(images)
        self._done += images
        if self._on_progress is not None:
            self._on_progress(self._done, self._total, words)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def _compute_here(
    task: Task, folder: RunFolder, todo: Sequence[Batch], device: str, quiet: bool, progress: _Progress
) -> None:
    worker = task.open(device)
    worker.on_progress = progress.say
    try:
        if not quiet:
            for change in worker.changes:
                log.info("  %s", change)
        with folder.new_records(worker.head()) as writer:
            for batch, loaded in loaded_ahead(todo, worker.load):
                for records in worker.records(batch, loaded):
                    writer.write(*records)
                    progress(records)
    finally:
        worker.close()
