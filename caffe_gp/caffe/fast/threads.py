"""Work shared among as many threads as PyTorch computes with.

PyTorch's own threads, and numba's, are those of OpenMP, which does not survive a fork and gives each of our
threads a team of its own. These here are plain ones, of which each computes alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Barrier
from typing import TypeVar

import torch

T = TypeVar("T")
_pools: dict[int, ThreadPoolExecutor] = {}


def in_parallel(work: Callable[[range], T], items: range) -> list[T]:
    """``work`` of ``items``, shared evenly: a result for each thread. ``work`` should leave Python's lock."""
    threads = min(torch.get_num_threads(), len(items))
    if threads <= 1:
        return [work(items)]
    parts: list[Future[T]] = []
    try:
        # Neighbours to different threads: the parts are as good as equal.
        for i in range(threads):
            parts.append(_pool(threads).submit(work, items[i::threads]))
    except RuntimeError:  # the interpreter is about to end, and takes no work for threads any more
        wait(parts)
        return [work(items)]
    try:
        return [part.result() for part in parts]
    finally:
        wait(parts)  # also after Ctrl-C: nobody may write any more when this returns


def _pool(threads: int) -> ThreadPoolExecutor:
    if threads not in _pools:
        of_this_thread = torch.get_num_threads()
        pool = ThreadPoolExecutor(threads, "caffe_gp", initializer=lambda: torch.set_num_threads(1))
        all_there = Barrier(threads)
        list(pool.map(lambda _: all_there.wait(), range(threads)))
        torch.set_num_threads(of_this_thread)  # what a new thread begins with is the last that any thread set
        _pools[threads] = pool
    return _pools[threads]


os.register_at_fork(after_in_child=_pools.clear)  # a child has none of its parent's threads
