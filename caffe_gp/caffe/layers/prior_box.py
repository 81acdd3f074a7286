"""PriorBox: the boxes that a detector starts from, at every position of a feature map (SSD and relatives)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from caffe_gp.caffe import mode
from caffe_gp.caffe.blob import MAX_COUNT, Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register

log = logging.getLogger(__name__)

_SAME_RATIO = 1e-6
_MOST_RATIOS = 1000
_OPENCV = ("offset_h", "offset_w", "width", "height", "additional_y_offset")
_FACEBOXES = ("fixed_size", "fixed_ratio", "density")


class _Boxes(NamedTuple):
    """Those of one cell, a row each, (P, 2), x first.

    offset   added to the cell's number, before it is multiplied by the step
    shift    added then, in pixels
    size     width and height, in pixels
    cut      whether the image's borders cut it off (P,)
    """

    offset: np.ndarray
    shift: np.ndarray
    size: np.ndarray
    cut: np.ndarray


@register("PriorBox")
class PriorBoxLayer(Layer):
    """Top (1, 2, H * W * P * 4): x1, y1, x2, y2 of P boxes a position, in units of the image; variances.

    Bottoms: the feature map, whose H and W count, and the image, whose height and width count unless
    ``img_size`` or ``img_h`` and ``img_w`` are given. For each ``min_size`` m: the square m, with a
    ``max_size`` M the square sqrt(m M), then m sqrt(r) x m / sqrt(r) for each ratio, with ``flip`` also for
    1 / r. Sizes lose what is behind the point, as in SSD; that is said in the log.

    Three relatives are told by their fields.

    FaceBoxes: ``fixed_size`` with ``density`` d makes d x d boxes a cell, before those of ``min_size``, cut
    at the image's borders.
    OpenCV's importer: ``offset_h`` and ``offset_w``, one value each or two, put every box at each of these
    places in the cell; ``width`` and ``height`` are the sizes of boxes, instead of ``min_size``. With any of
    these fields sizes stay as they are, and ``clip`` is true unless given.
    TextBoxes: its layer has no field of its own. It is OpenCV's with ``additional_y_offset: true``, every box
    at the cell's centre and once more half a cell below. Without that DetectionOutput finds too few boxes.
    """

    exact_num_bottom = 2
    exact_num_top = 1
    reshapes_by_shape = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.prior_box_param
        self._check_numbers(param)
        given = {field.name for field, _ in param.ListFields()}
        self._opencv, faceboxes = given.intersection(_OPENCV), given.intersection(_FACEBOXES)
        if self._opencv and faceboxes:
            raise self.error(
                f"prior_box_param has fields of two forks, {min(self._opencv)} and {min(faceboxes)}; "
                "expected those of one"
            )
        self._sizes = list(zip(*self._explicit_sizes(param))) if {"width", "height"} & given else []
        self._fixed = self._fixed_sizes(param) if faceboxes else []
        if not (self._sizes or self._fixed or param.min_size):
            raise self.error("prior_box_param needs a min_size")
        self._squares = self._min_and_max(param)
        self._ratios = self._all_ratios(param)
        self._offsets = self._all_offsets(param)
        self._clip = param.clip if param.HasField("clip") else bool(self._opencv)
        self._variance = list(param.variance) or [0.1]
        if len(self._variance) not in (1, 4):
            raise self.error(f"expected one variance or four, found {len(self._variance)}")
        self._image = self._pair(param, "img_size", "img_h", "img_w")
        self._step = self._pair(param, "step", "step_h", "step_w")

    # ---- the fields

    def _check_numbers(self, param: Any) -> None:
        for field, value in param.ListFields():
            values = [value] if isinstance(value, float) else value if field.type == field.TYPE_FLOAT else []
            if not all(map(math.isfinite, values)):
                raise self.error(f"prior_box_param.{field.name} is not a finite number")
            if values and "offset" not in field.name and min(values) <= 0:
                raise self.error(f"prior_box_param.{field.name} must be positive, found {min(values):g}")

    def _explicit_sizes(self, param: Any) -> tuple[list[float], list[float]]:
        if len(param.width) != len(param.height) or param.min_size or param.max_size or param.aspect_ratio:
            raise self.error(
                "width and height make boxes of their own: expected as many of both, and no min_size, "
                f"max_size or aspect_ratio; found {len(param.width)} and {len(param.height)}"
            )
        return list(param.width), list(param.height)

    def _fixed_sizes(self, param: Any) -> list[tuple[int, int]]:
        """(size, density) of FaceBoxes."""
        if not param.fixed_size or len(param.fixed_size) != len(param.density):
            raise self.error(
                f"expected a density for each fixed_size, found {len(param.fixed_size)} fixed_size and "
                f"{len(param.density)} density"
            )
        if not all(float(value).is_integer() for value in (*param.fixed_size, *param.density)):
            raise self.error("fixed_size and density must be whole numbers")
        if not param.min_size and param.aspect_ratio:
            raise self.error(
                "aspect_ratio is for min_size, of which there is none; fixed_ratio for fixed_size"
            )
        return [(int(size), int(density)) for size, density in zip(param.fixed_size, param.density)]

    def _min_and_max(self, param: Any) -> list[tuple[float, ...]]:
        """(m,) or (m, M) for each min_size, as they count."""
        low, high = list(param.min_size), list(param.max_size)
        if high and (len(low) != len(high) or not all(m < most for m, most in zip(low, high))):
            raise self.error(
                "expected no max_size, or one for each min_size, larger than it; found min_size "
                f"{low[:8]} and max_size {high[:8]}"
            )
        cut = [value for value in (*low, *high) if not value.is_integer()]
        if cut and not self._opencv:
            log.warning(
                "layer '%s' (PriorBox): sizes lose what is behind the point, as in SSD's Caffe: %g counts "
                "as %d. OpenCV keeps it; so does this layer with offset_h and offset_w in place of offset",
                self.name,
                cut[0],
                int(cut[0]),
            )
        if not self._opencv:
            low, high = [float(int(m)) for m in low], [float(int(most)) for most in high]
        return list(zip(low, high)) if high else [(m,) for m in low]

    def _all_ratios(self, param: Any) -> list[float]:
        """Those besides 1, in the order in which they make boxes."""
        if len(param.aspect_ratio) > _MOST_RATIOS:
            raise self.error(f"at most {_MOST_RATIOS} aspect_ratio, found {len(param.aspect_ratio)}")
        found = [1.0]
        for ratio in param.aspect_ratio:
            if all(abs(ratio - other) >= _SAME_RATIO for other in found):
                found += [ratio, 1 / ratio] if param.flip else [ratio]
        return found[1:]

    def _all_offsets(self, param: Any) -> list[tuple[float, float]]:
        """(x, y) of each place in a cell that has all boxes."""
        if not (param.offset_h or param.offset_w):
            both = [(param.offset, param.offset)]
            if not param.additional_y_offset:
                return both
            if param.HasField("offset"):
                raise self.error("additional_y_offset is for an offset of 0.5; expected no offset")
            return [*both, (0.5, 1.0)]
        count = len(param.offset_h)
        if (
            count != len(param.offset_w)
            or count > 2
            or {"offset", "additional_y_offset"}.intersection(field.name for field, _ in param.ListFields())
        ):
            raise self.error(
                "expected one or two offset_h and as many offset_w, no offset and no additional_y_offset; "
                f"found {count} offset_h and {len(param.offset_w)} offset_w"
            )
        return list(zip(param.offset_w, param.offset_h))

    def _pair(self, param: Any, both: str, height: str, width: str) -> tuple[float, float] | None:
        """(height, width) from one field for both or one for each; None where none is given."""
        if param.HasField(height) or param.HasField(width):
            if param.HasField(both) or not (param.HasField(height) and param.HasField(width)):
                raise self.error(f"expected {both}, or {height} and {width}")
            found = getattr(param, height), getattr(param, width)
        elif param.HasField(both):
            found = (getattr(param, both),) * 2
        else:
            return None
        if min(found) <= 0:
            raise self.error(f"{both}, {height} and {width} must be positive")
        return found

    # ---- the boxes

    def _count(self) -> int:
        """Boxes of one cell."""
        shapes = max(len(self.layer_param.prior_box_param.fixed_ratio), 1)
        fixed = shapes * sum(density**2 for _, density in self._fixed)
        plain = len(self._sizes) + sum(len(sides) + len(self._ratios) for sides in self._squares)
        return fixed + plain * len(self._offsets)

    def _boxes(self) -> _Boxes:
        sizes = [np.array(self._sizes, np.float64).reshape(-1, 2)]
        if self._squares:
            pairs = np.array(self._squares, np.float64)
            sides = np.concatenate([pairs[:, :1], np.sqrt(pairs[:, :1] * pairs[:, 1:])], 1)
            roots = np.sqrt(np.array(self._ratios, np.float64))
            widths = np.concatenate([sides, pairs[:, :1] * roots], 1)
            heights = np.concatenate([sides, pairs[:, :1] / roots], 1)
            sizes.append(np.stack([widths, heights], 2).reshape(-1, 2))
        size = np.concatenate(sizes)
        places = np.array(self._offsets, np.float64)
        at_all = np.repeat(size, len(places), 0)
        cut = np.full(len(at_all), self._clip)
        plain = _Boxes(np.tile(places, (len(size), 1)), np.zeros_like(at_all), at_all, cut)
        dense = [self._dense(*one, places) for one in self._fixed]
        return _Boxes(*(np.concatenate(parts) for parts in zip(*dense, plain)))

    def _dense(self, side: int, density: int, place: np.ndarray) -> _Boxes:
        """FaceBoxes' of one fixed_size: density x density for each shape."""
        roots = np.sqrt(np.array(list(self.layer_param.prior_box_param.fixed_ratio) or [1.0], np.float64))
        step = side // density
        line = step / 2 - side // 2 + step * np.arange(density)
        shift = np.stack(np.meshgrid(line, line), 2).reshape(-1, 2)
        size = np.repeat(np.stack([side * roots, side / roots], 1), len(shift), 0)
        shift = np.tile(shift, (len(roots), 1))
        return _Boxes(np.tile(place, (len(shift), 1)), shift, size, np.full(len(size), True))

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(1, 2, all coordinates)."""
        for blob in bottom if self._image is None else bottom[:1]:
            if len(blob.shape) != 4:
                raise self.error(f"feature map and image must have 4 axes, found shape {blob.shape}")
        self._map, self._size = bottom[0].shape[2:], self._image or bottom[1].shape[2:]
        if min(self._size) < 1:
            raise self.error(f"the image of shape {bottom[1].shape} has no pixels")
        count = self._map[0] * self._map[1] * self._count() * 4
        if count > MAX_COUNT:
            raise self.error(
                f"{self._count():,} boxes at each of {self._map[0]} x {self._map[1]} places are too many"
            )
        top[0].reshape(1, 2, count)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The boxes of a cell, and their coordinates in a row or a column of cells, in 8 bytes."""
        return (48 + 4 * max(self._map)) * self._count()

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """No values of the bottoms are read."""
        found = np.empty((2, *self._map, self._count(), 4), np.float32)
        if found.size:
            found[1] = self._variance
            self._write(found[0])
        top[0].data_tensor = torch.from_numpy(found.reshape(1, 2, -1)).to(mode.device())

    def _write(self, found: np.ndarray) -> None:
        """Coordinates into an array (H, W, P, 4)."""
        boxes = self._boxes()
        for axis, cells, image in ((0, self._map[1], self._size[1]), (1, self._map[0], self._size[0])):
            step = self._step[1 - axis] if self._step else float(np.float32(image) / np.float32(cells))
            centre = (np.arange(cells)[:, None] + boxes.offset[:, axis]) * step + boxes.shift[:, axis]
            for side, sign in ((axis, -0.5), (axis + 2, 0.5)):
                values = (centre + sign * boxes.size[:, axis]) / image
                np.clip(values, 0, 1, out=values, where=boxes.cut)
                with np.errstate(over="ignore"):  # what no float32 holds
                    found[..., side] = values if axis == 0 else values[:, None]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            raise self.error("has no gradient; propagate_down: false cuts it off above")

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Only shapes of the bottoms count."""
        return False
