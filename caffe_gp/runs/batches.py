"""Which images go through a net together, as many as memory allows, and decoding them ahead."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Callable, Iterable, Iterator, Sequence, TypeVar

from caffe_gp.errors import OutOfMemoryError
from caffe_gp.images.preprocess import Size

log = logging.getLogger(__name__)
T = TypeVar("T")
Loaded = TypeVar("Loaded")


def plan(sizes: Sequence[Size], batch_size: int) -> list[list[int]]:
    """Batches of the indices of ``sizes``: equal sizes together, in their order, at most ``batch_size``.

    A net is then reshaped once a size, not once an image. The plan depends on nothing else, so that a run
    that is resumed, or shared among workers, computes the very same batches: a batch's size changes last
    bits.
    """
    by_size: dict[Size, list[int]] = {}
    for index, size in enumerate(sizes):
        by_size.setdefault(size, []).append(index)
    return [
        same[first : first + batch_size]
        for same in by_size.values()
        for first in range(0, len(same), batch_size)
    ]


class FittingParts:
    """Work on as many at once as there is memory for.

    Where it runs out, half as many are tried, and from then on no more. That changes last bits.
    """

    def __init__(self, quiet: bool) -> None:
        self._most: int | None = None
        self._quiet = quiet

    def of(self, count: int, work: Callable[[slice], T]) -> Iterator[T]:
        """What ``work`` makes of each part of ``count`` things. OutOfMemoryError where one is too many."""
        first = 0
        while first < count:
            part = slice(first, min(count, first + (self._most or count)))
            try:
                made = work(part)
            except OutOfMemoryError as error:
                tried = part.stop - first
                if tried == 1:
                    raise
                self._most = tried // 2
                if not self._quiet:
                    log.warning(
                        "  no memory for %d images at once, so %d from here on: %s", tried, self._most, error
                    )
                continue
            yield made
            first = part.stop


def loaded_ahead(items: Iterable[T], load: Callable[[T], Loaded]) -> Iterator[tuple[T, Loaded]]:
    """(item, load(item)) in order; the next one is taken and loaded in a thread while one is in use.

    Errors of ``items`` and ``load`` are raised here, in their turn.
    """
    results: queue.Queue = queue.Queue(maxsize=1)
    stopped = threading.Event()

    def put(entry: tuple) -> None:
        while not stopped.is_set():
            try:
                return results.put(entry, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(("loaded", (item, load(item))))
                if stopped.is_set():
                    return
            put(("end", None))
        except BaseException as error:  # noqa: B036 (handed to the caller)
            put(("error", error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = results.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
