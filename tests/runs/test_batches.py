"""Batches: planned from sizes alone; decoded one ahead, errors in their turn."""

from __future__ import annotations

import threading
import time

import pytest

from caffe_gp.errors import OutOfMemoryError
from caffe_gp.runs.batches import FittingParts, loaded_ahead, plan

pytestmark = pytest.mark.engine


def test_plan_groups_equal_sizes_in_their_order():
    sizes = [(5, 4), (4, 5), (5, 4), (5, 4), (4, 5), (5, 4), (5, 4)]
    assert plan(sizes, 2) == [[0, 2], [3, 5], [6], [1, 4]]
    assert plan(sizes, 1) == [[0], [2], [3], [5], [6], [1], [4]]
    assert plan([], 3) == []


def test_where_memory_runs_out_half_as_many_are_tried_from_then_on(caplog):
    tried = []

    def work(part):
        tried.append((part.start, part.stop))
        if part.stop - part.start > 2:
            raise OutOfMemoryError("4 are too many")
        return part.stop

    parts = FittingParts(quiet=False)
    assert list(parts.of(9, work)) == [2, 4, 6, 8, 9]
    assert tried == [(0, 9), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8), (8, 9)]
    assert list(parts.of(3, work)) == [2, 3]
    said = [record.getMessage() for record in caplog.records]
    assert "no memory for 9 images at once, so 4 from here on: 4 are too many" in said[0] and len(said) == 2
    with pytest.raises(OutOfMemoryError, match="not even one"):
        list(FittingParts(quiet=True).of(2, _none))


def _none(part):
    raise OutOfMemoryError("not even one")


def test_the_next_item_is_loaded_while_one_is_in_use():
    loading = threading.Event()

    def load(item):
        if item == 1:
            loading.set()
        return item * 10

    found = loaded_ahead(range(3), load)
    assert next(found) == (0, 0)
    assert loading.wait(timeout=60)  # nobody has asked for item 1 yet
    assert list(found) == [(1, 10), (2, 20)]


def test_errors_come_in_their_turn():
    def load(item):
        return 1 / item

    found = loaded_ahead([2, 1, 0, 4], load)
    assert next(found) == (2, 0.5) and next(found) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_a_reader_that_stops_leaves_no_thread_behind():
    before = threading.active_count()
    found = loaded_ahead(iter(range(1000)), lambda item: item)
    next(found)
    found.close()
    deadline = time.time() + 60
    while threading.active_count() > before and time.time() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
