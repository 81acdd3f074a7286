"""A run on a Ray cluster: actors that hold one net each, on any number of machines.

``address`` is 'local' (a cluster of this machine alone), 'auto' (the one that this machine belongs to) or
'ray://host:port'. Files do not travel: prototxt, weights, images and labels must lie under the same paths on
every machine, on a shared file system. The code travels, so that all machines compute with this one. See
docs/scale.md.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import socket
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import caffe_gp
from caffe_gp.engines import thread_variables
from caffe_gp.errors import CaffeGPError, EngineError
from caffe_gp.runs.folder import RunFolder
from caffe_gp.runs.records import check_key
from caffe_gp.runs.task import Batch, Record, Task

# A task for each batch loses least when a machine dies; beyond so many the driver would only count tasks.
_MOST_TASKS = 20_000


def compute(
    task: Task,
    folder: RunFolder,
    key: Mapping[str, Any],
    todo: Sequence[Batch],
    workers: int,
    address: str,
    on_records: Callable[[Sequence[Record]], object],
) -> None:
    """Compute the batches ``todo``; their records are in the folder, and were given to ``on_records``.

    An actor that dies is started again and its batch repeated (by Ray); records come back here and are
    written here, so machines need to see the inputs only. An error that an actor meets is raised here;
    EngineError without Ray or a cluster.
    """
    ray = _ray()
    with _connected(ray, address, task.threads), ExitStack() as files:
        rows = _rows(task, todo, workers)
        if address.startswith("ray://"):
            # Ray's data sets do not run in a client, so an actor on the cluster drives this one.
            driver = ray.remote(num_cpus=0)(_Driver).remote(task, todo, workers)
            rows = iter(lambda: ray.get(driver.next.remote()), None)
        writers: dict[str, Any] = {}
        for row in rows:
            if row["error"]:
                raise pickle.loads(row["error"])
            if row["actor"] not in writers:
                head = json.loads(row["head"])
                check_key(Path(row["actor"]), head["key"], key)
                writers[row["actor"]] = files.enter_context(folder.new_records(head))
            records = json.loads(row["records"])
            writers[row["actor"]].write(*records)
            on_records(records)


def _rows(task: Task, todo: Sequence[Batch], workers: int) -> Iterator[dict[str, Any]]:
    """What the actors answer, a batch at a time, as it comes."""
    ray = _ray()
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    on_gpu = task.device != "cpu"
    batches = ray.data.from_items(
        [{"batch": json.dumps(list(batch))} for batch in todo],
        override_num_blocks=min(len(todo), _MOST_TASKS),
    )
    answers = batches.map_batches(
        _Actor,
        fn_constructor_args=(task,),
        batch_size=1,
        num_cpus=1 if on_gpu else task.threads,
        num_gpus=1 if on_gpu else None,
        # Two calls at a time: one decodes while the other computes.
        compute=ray.data.ActorPoolStrategy(
            size=min(workers, len(todo)),
            enable_true_multi_threading=True,
            max_concurrent_calls_per_actor=2,
        ),
    )
    yield from answers.iter_rows()


class _Driver:
    """``_rows`` in an actor."""

    def __init__(self, task: Task, todo: Sequence[Batch], workers: int) -> None:
        self._rows = _rows(task, todo, workers)

    def next(self) -> dict[str, Any] | None:
        """The next row, None after the last."""
        return next(self._rows, None)


class _Actor:
    """One net somewhere in the cluster. Errors travel as values: Ray would wrap them, or start again."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._lock = threading.Lock()
        self._worker: Any = None
        self._head = ""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        actor = f"{socket.gethostname()}, process {os.getpid()}"
        out = {"actor": actor, "head": "", "records": "[]", "error": b""}
        try:
            batch = json.loads(str(row["batch"][0]))
            with self._lock:
                self._open()
            loaded = self._worker.load(batch)
            with self._lock:
                groups = self._worker.records(batch, loaded)
                records = [record for group in groups for record in group]
            out.update(head=self._head, records=json.dumps(records))
        except CaffeGPError as error:
            out["error"] = pickle.dumps(error)
        return {name: [value] for name, value in out.items()}

    def _open(self) -> None:
        if self._worker is None:
            # This machine's own key: the driver refuses records of other files or other versions.
            task = self._task.on_this_machine()
            self._worker = task.open(task.device)
            self._head = json.dumps(self._worker.head())


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise EngineError(f"--cluster needs Ray: pip install 'caffe_gp[cluster]' ({error})") from error
    return ray


@contextmanager
def _connected(ray: Any, address: str, threads: int | None) -> Iterator[None]:
    package = str(Path(caffe_gp.__file__).parent)
    environment = {"env_vars": thread_variables(threads), "py_modules": [package]}
    mine = not ray.is_initialized()
    if mine:
        init = partial(
            ray.init,
            address=address,
            runtime_env=environment,
            log_to_driver=False,
            logging_level="warning",
            # Shows in a browser what a cluster does; a cluster of one process's own needs none.
            include_dashboard=False if address == "local" else None,
        )
        try:
            try:
                init()
            except ConnectionAbortedError:
                # On a loaded machine the server that Ray starts for a client may connect twice, and fail by
                # that ("called ray.init twice"). Who asks again gets another server.
                init()
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EngineError(f"no Ray cluster at '{address}': {error}") from error
    try:
        yield
    finally:
        if mine:
            ray.shutdown()
