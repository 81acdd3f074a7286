"""Non-maximum suppression: what stays, and that no input makes it take for ever or all memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from caffe_gp.caffe import nms
from caffe_gp.errors import NetError

RNG = np.random.RandomState(2)


def boxes(count, spread=1.0):
    corner = RNG.rand(count, 2) * spread
    return np.concatenate([corner, corner + 0.02 + 0.3 * RNG.rand(count, 2)], 1).astype(np.float32)


def one_by_one(found, threshold, most=None, extra=0.0, below=False):
    """Of one lane, the plain way."""
    kept = []
    areas = (found[:, 2] - found[:, 0] + extra) * (found[:, 3] - found[:, 1] + extra)
    for i, (x1, y1, x2, y2) in enumerate(found.astype(np.float64)):
        good = most is None or len(kept) < most
        for j in kept:
            w = min(x2, found[j, 2]) - max(x1, found[j, 0]) + extra
            h = min(y2, found[j, 3]) - max(y1, found[j, 1]) + extra
            shared = w * h if w > 0 and h > 0 else 0
            part = shared / (areas[i] + areas[j] - shared)
            good = good and (part < threshold if below else part <= threshold)
        if good:
            kept.append(i)
    return np.isin(np.arange(len(found)), kept)


@pytest.mark.parametrize("options", [{}, {"most": 5}, {"most": 0}, {"extra": 1.0}, {"below": True}])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_lanes_of_all_lengths_are_apart(threshold, options):
    """Lanes of 0 to 90 boxes at once are those lanes one at a time."""
    sizes = [1, 90, 0, 7, 8, 9, 0, 0, 64, 3, 1, 30]
    found, lane = boxes(sum(sizes)), np.repeat(np.arange(len(sizes)), sizes)
    stays = nms.kept(found, lane, threshold, remedy="", **options)
    for i in range(len(sizes)):
        expected = one_by_one(found[lane == i], threshold, **options)
        assert (stays[lane == i] == expected).all()


def test_of_equal_boxes_the_first_stays_unless_they_may_overlap_wholly():
    found = np.tile(np.float32([0, 0, 1, 1]), (3, 1))
    lane = np.zeros(3, int)
    assert nms.kept(found, lane, 0.99, remedy="").tolist() == [True, False, False]
    assert nms.kept(found, lane, 1, remedy="").all()
    assert nms.kept(found, lane, 1, below=True, remedy="").tolist() == [True, False, False]
    assert not nms.kept(found[:0], lane[:0], 0.5, remedy="").size


def test_boxes_inside_out_or_not_finite():
    odd = np.float32([[1, 1, 0, 0], [0, 0, 0, 0], [np.nan] * 4, [-np.inf, 0, np.inf, 1], [0, np.nan, 1, 1]])
    assert nms.kept(odd, np.zeros(5, int), 0.5, remedy="").all()
    endless = np.tile(np.float32([-np.inf, 0, np.inf, 1]), (2, 1))  # inf / inf
    assert nms.kept(endless, np.zeros(2, int), 0.5, remedy="").all()


@pytest.mark.parametrize("lanes, count", [(1, 30_000), (30_000, 1), (200, 150)])
def test_what_it_takes_is_stated(lanes, count):
    found, lane = boxes(lanes * count, 0.1), np.repeat(np.arange(lanes), count)
    tracemalloc.start()
    try:
        nms.kept(found, lane, 0.3, remedy="")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * nms.WORKSPACE * len(found) + 1e5


def test_too_many_comparisons_are_refused(monkeypatch):
    """Boxes that all stay are compared each with each: half of 10^12 comparisons for a million of them."""
    monkeypatch.setattr(nms, "MOST_PAIRS", 10**7)
    found = boxes(10_000, 1000)
    with pytest.raises(NetError, match="of 10,000 boxes .* 10,000,000 comparisons; do something"):
        nms.kept(found, np.zeros(len(found), int), 0.5, remedy="do something")
    assert nms.kept(found, np.zeros(len(found), int), 0.5, most=100, remedy="").sum() == 100
    assert nms.kept(found, np.arange(len(found)), 0.5, remedy="").all()
