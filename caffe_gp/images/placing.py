"""Where a map of scores lies over the image: by the net's own coordinates, else stretched."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from caffe_gp.images.label_maps import IGNORE

# Pillow 8 has no Image.Resampling, and 9 warns of Image.BILINEAR.
_FILTERS: Any = getattr(Image, "Resampling", Image)
BILINEAR, NEAREST = _FILTERS.BILINEAR, _FILTERS.NEAREST


class Line(NamedTuple):
    """Along one axis, pixel x of the net's input lies at ``scale * x + shift`` of the scores."""

    scale: float
    shift: float


Placing = Optional[Tuple[Line, Line]]  # rows and columns; None: not known


def place_labels(labels: np.ndarray, shape: Sequence[int], placing: Placing) -> np.ndarray:
    """A label map (h, w) laid over an input of ``shape`` (height, width): each pixel takes the nearest one.

    255 for pixels outside of the scores, by more than a score's own size where that is not one pixel. A map
    of the input's size is left as it is, and one without ``placing`` is stretched.
    """
    if labels.shape == tuple(shape):
        return labels
    if placing is None:
        return nearest(labels, shape)
    (rows, row_inside), (columns, column_inside) = (
        _nearest_along(line, size, source) for line, size, source in zip(placing, shape, labels.shape)
    )
    placed = labels[np.ix_(rows, columns)]
    placed[~np.logical_and.outer(row_inside, column_inside)] = IGNORE
    return placed


def place_maps(maps: np.ndarray, shape: Sequence[int], placing: Placing) -> np.ndarray:
    """Maps (C, h, w) laid over an input of ``shape``, float32: bilinear, the edges' values outside."""
    if maps.shape[1:] == tuple(shape):
        return maps
    if placing is None:
        return bilinear(maps, shape)
    for axis, line in zip((1, 2), placing):
        at = np.clip(line.scale * np.arange(shape[axis - 1]) + line.shift, 0, maps.shape[axis] - 1)
        low = at.astype(np.int64)
        high = np.minimum(low + 1, maps.shape[axis] - 1)
        weight = (at - low).astype(np.float32).reshape(-1, *(1,) * (2 - axis))
        maps = maps.take(low, axis) * (1 - weight) + maps.take(high, axis) * weight
    return maps


def is_picture_of(scores: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a map can be an input of ``shape``, enlarged or reduced: are its sides in like ratio?"""
    if 0 in (*scores, *shape):
        return False
    ratio = scores[0] * shape[1] / (scores[1] * shape[0])
    return tuple(scores) == (1, 1) or 0.5 < ratio < 2


def words(scores: Sequence[int], shape: Sequence[int], placing: Placing) -> str:
    """What is done with label maps of the size ``scores`` for inputs of ``shape``; '' for equal ones."""
    if tuple(scores) == tuple(shape):
        return ""
    sizes = f"the scores are {scores[1]} x {scores[0]} for an input of {shape[1]} x {shape[0]}: label maps"
    if placing is None:
        return f"{sizes} are stretched to it (nearest), since no coordinates follow from the net's layers"
    if any(line.scale != 1 for line in placing):
        return f"{sizes} are enlarged (nearest) by the coordinates of the net's layers"
    top, left = (-line.shift for line in placing)
    half = "" if top == int(top) and left == int(left) else ", rounded to whole pixels, so half a pixel off"
    return (
        f"{sizes} begin at pixel {left:g}, {top:g} (x, y) of it, as the net's layers say{half}; pixels "
        "outside of them get no label (255) and do not count"
    )


def _nearest_along(line: Line, size: int, source: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``size`` pixels the nearest of ``source`` scores, and whether it is near enough."""
    at = np.floor(line.scale * np.arange(size) + line.shift + 0.5 + 1e-9).astype(np.int64)
    outside = 0 if line.scale == 1 else 1
    inside = (at >= -outside) & (at <= source - 1 + outside)
    return np.clip(at, 0, source - 1), inside


def nearest(labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A label map (h, w) resized to ``shape`` (height, width) by the nearest neighbour."""
    if labels.shape == tuple(shape):
        return labels
    if labels.dtype not in (np.uint8, np.int32):  # Pillow's
        labels = labels.astype(np.int32)
    picture = Image.fromarray(np.ascontiguousarray(labels))
    return np.asarray(picture.resize((shape[1], shape[0]), NEAREST))


def bilinear(maps: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Maps (C, h, w) resized to ``shape`` (height, width), each on its own, float32."""
    if maps.shape[1:] == tuple(shape):
        return maps
    pictures = [Image.fromarray(np.ascontiguousarray(one, dtype=np.float32)) for one in maps]
    return np.stack([np.asarray(one.resize((shape[1], shape[0]), BILINEAR)) for one in pictures])
