"""Non-maximum suppression: of boxes that overlap those with the highest scores stay."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from caffe_gp.errors import NetError

#: Pairs of boxes that one call compares at most, a second's work. SSD300 takes some millions an image.
MOST_PAIRS = 1 << 28
#: Values that ``kept`` takes besides its arguments, for each box.
WORKSPACE = 36


def kept(
    boxes: np.ndarray,
    lane: np.ndarray,
    threshold: float,
    *,
    eta: float = 1.0,
    most: int | None = None,
    extra: float = 0.0,
    below: bool = False,
    remedy: str,
) -> np.ndarray:
    """Which boxes stay, (n,): of each lane, one after the other, those that overlap no kept one too much.

    boxes      (n, 4): x1, y1, x2, y2, float32; those of a lane together, by descending score
    lane       (n,): what belongs together, ascending: a class of an image, say
    threshold  the greatest intersection over union that a box may have with a kept one
    eta        each kept box multiplies a threshold above 0.5 by it
    most       at most so many stay in a lane
    extra      added to widths and heights: 1 where coordinates are those of pixels
    below      whether a box must stay below the threshold

    remedy     how to have fewer boxes, or fewer that stay, for a message

    A box whose coordinates are not finite overlaps nothing. NetError where that takes more than MOST_PAIRS.
    """
    found = np.zeros(len(boxes), bool)
    left = MOST_PAIRS
    for places, there in _groups(lane):
        race = _Race(boxes, places, there, extra)
        limit = np.full(len(places), threshold, np.float32)
        count = 0
        while race.first() and (most is None or count < most):
            left -= race.open.size
            if left < 0:
                raise NetError(
                    f"non-maximum suppression of {len(boxes):,} boxes takes more than {MOST_PAIRS:,} "
                    f"comparisons; {remedy}"
                )
            found[race.winners()] = True
            count += 1
            if eta < 1:
                limit = np.where(limit > 0.5, limit * np.float32(eta), limit)
            race.close(limit[race.lanes, None], below, eta < 1)
    return found


def _groups(lane: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places of the boxes of lanes of about the same length, a row each, and whether there is one."""
    starts = np.flatnonzero(np.diff(lane, prepend=-1))
    sizes = np.diff(starts, append=len(lane))
    lengths = np.frexp(sizes)[1]  # equal: at most a factor of 2 apart
    for length in np.unique(lengths):
        start, size = starts[lengths == length], sizes[lengths == length]
        steps = np.arange(size.max())
        there = steps < size[:, None]
        yield np.where(there, start[:, None] + steps, 0), there


class _Race:
    """The boxes of some lanes, (L, M), of which every lane keeps one at a time."""

    def __init__(self, boxes: np.ndarray, places: np.ndarray, there: np.ndarray, extra: float) -> None:
        self.open, self.lanes = there, np.arange(len(places))
        self._places, self._extra = places, np.float32(extra)
        self._sides = [np.ascontiguousarray(boxes[:, i])[places] for i in range(4)]
        x1, y1, x2, y2 = self._sides
        with np.errstate(all="ignore"):
            area = (x2 - x1 + self._extra) * (y2 - y1 + self._extra)
        self._area = np.where((x2 < x1) | (y2 < y1), np.float32(0), area)
        self._greatest = np.zeros_like(self._area)  # overlap with a kept box
        self._room = np.empty((3, *self._area.shape), np.float32)  # memory anew each time would take longer

    def first(self) -> bool:
        """Find the next box of each lane; False if no lane has any."""
        self._next = self.open.argmax(1)
        going = self.open[np.arange(len(self._next)), self._next]
        if not going.any():
            return False
        if 2 * np.count_nonzero(self.open) < self.open.size:
            self._pack(going)
        elif not going.all():
            self._take(going)
        return True

    def _pack(self, going: np.ndarray) -> None:
        """Leave out the boxes that are no longer open."""
        self._take(going)
        width = np.count_nonzero(self.open, axis=1).max()
        order = np.argsort(~self.open, axis=1, kind="stable")[:, :width]
        for name in ("open", "_places", "_area", "_greatest"):
            setattr(self, name, np.take_along_axis(getattr(self, name), order, 1))
        self._sides = [np.take_along_axis(side, order, 1) for side in self._sides]
        self._next = self.open.argmax(1)
        self._room = np.empty((3, *self.open.shape), np.float32)

    def _take(self, lanes: np.ndarray) -> None:
        for name in ("open", "lanes", "_places", "_area", "_greatest", "_next"):
            setattr(self, name, getattr(self, name)[lanes])
        self._sides = [side[lanes] for side in self._sides]
        self._room = self._room[:, : len(self._next)]

    def winners(self) -> np.ndarray:
        """Places of the boxes found."""
        return self._places[np.arange(len(self._next)), self._next]

    def close(self, limit: np.ndarray, below: bool, falling: bool) -> None:
        """Close the boxes found, and those that overlap them too much, or one before if the limit falls."""
        rows = np.arange(len(self._next))
        self.open[rows, self._next] = False
        with np.errstate(all="ignore"):
            overlap = self._overlap(rows)
        if falling:
            overlap = np.maximum(self._greatest, overlap, out=self._greatest)
        self.open &= overlap < limit if below else overlap <= limit

    def _overlap(self, rows: np.ndarray) -> np.ndarray:
        """Of all boxes with the one found in their lane; what is no number counts as none."""
        shared, other, spare = self._room
        for axis, part in enumerate((shared, other)):
            low, high = self._sides[axis], self._sides[axis + 2]
            np.minimum(high, high[rows, self._next, None], out=part)
            part -= np.maximum(low, low[rows, self._next, None], out=spare)
            if self._extra:
                part += self._extra
            np.fmax(part, 0, out=part)
        shared *= other
        np.add(self._area, self._area[rows, self._next, None], out=other)
        other -= shared
        shared /= other
        return np.fmax(shared, 0, out=shared)
