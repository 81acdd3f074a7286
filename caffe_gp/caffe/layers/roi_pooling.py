"""ROIPooling and PSROIPooling: regions of a feature map, each brought to one size (Fast R-CNN, R-FCN)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register

_AT_ONCE = 1 << 22  # values that one step works on
_MOST_WORK = 1 << 34  # values that are looked at; 2000 regions in training are some 2^32
_OF_A_PIXEL = 16  # values that take as long as finding their place
_LEAST = float(np.finfo(np.float32).min)

Cells = tuple[int, int]  # of a region: down and across


class _Windows(NamedTuple):
    """First row or column of each region's cells, and the one behind the last: (2, R, cells)."""

    rows: np.ndarray
    columns: np.ndarray


class _RegionLayer(Layer):
    """Bottoms: features (N, C, H, W) and regions (R, 5): image, x1, y1, x2, y2 in pixels of the input."""

    exact_num_bottom = 2
    exact_num_top = 1

    def check_scale(self, scale: float) -> None:
        """NetError for a ``spatial_scale`` that is none."""
        if not 0 < scale < math.inf:
            raise self.error(f"spatial_scale must be positive and finite, found {scale:g}")

    def check_bottoms(self, bottom: Sequence[Blob]) -> int:
        """The number of regions."""
        features, regions = bottom[0].shape, bottom[1].shape
        if len(features) != 4:
            raise self.error(f"the features must have 4 axes, found {features}")
        if not regions or bottom[1].count_from(1) != 5:
            raise self.error(f"expected five values a region (image, x1, y1, x2, y2), found {regions}")
        return regions[0]

    def regions(self, bottom: Sequence[Blob]) -> tuple[np.ndarray, np.ndarray]:
        """Images (R,) and corners (R, 4). NetError for an image that is not in the batch."""
        values = bottom[1].read_data().reshape(-1, 5)
        images, count = values[:, 0], bottom[0].shape[0]
        wrong = ~((images > -1) & (images < count))
        if wrong.any():
            i = int(wrong.argmax())
            raise self.error(f"region {i} is of image {images[i]:g}, expected 0 to {count - 1}")
        return images.astype(np.int64), values[:, 1:]

    def windows(self, bottom: Sequence[Blob], edges: np.ndarray, sides: np.ndarray, cells: Cells) -> _Windows:
        """Cells of regions that begin at ``edges`` and have ``sides``, both (R, 2), x first."""
        with np.errstate(all="ignore"):
            far = ~(np.abs(edges) + sides < 2**31).all(1)
        if far.any():
            i = int(far.argmax())
            shown = ", ".join(f"{value:g}" for value in bottom[1].read_data().reshape(-1, 5)[i, 1:])
            raise self.error(f"region {i} ({shown}) has corners that are no places in an image")
        found = []
        for axis, count, size in zip((1, 0), cells, bottom[0].shape[2:]):
            part = sides[:, axis].astype(np.float32) / np.float32(count)  # float32, as the forks have it
            steps = np.arange(count + 1, dtype=np.float32) * part[:, None]
            bounds = self.bounds(steps, edges[:, axis, None])
            found.append(np.clip(bounds, 0, size).astype(np.int64))
        return _Windows(*found)

    def check_work(self, pixels: int, channels: int) -> None:
        """NetError where the regions' cells cover more pixels than any net's do."""
        if pixels * (channels + _OF_A_PIXEL) > _MOST_WORK:
            raise self.error(
                f"the regions cover {pixels:,} pixels of {channels} channels, more than are pooled in a "
                "pass; use fewer or smaller regions"
            )

    def bounds(self, steps: np.ndarray, edge: np.ndarray) -> np.ndarray:
        """First row and the one behind the last, (2, R, cells), of cells that begin at steps from an edge."""
        raise NotImplementedError

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Regions get no gradient."""
        return bottom_index == 0


def _rounded(values: np.ndarray) -> np.ndarray:
    """Half away from zero, as in C."""
    return np.trunc(values.astype(np.float64) + np.copysign(0.5, values))


@register("ROIPooling")
class ROIPoolingLayer(_RegionLayer):
    """Top (R, C, pooled_h, pooled_w): the maximum of each cell of each region, 0 for one outside the image.

    Corners are multiplied by ``spatial_scale`` and rounded; the last row and column belong to the region,
    which has one of both at least. The diff goes to the first maximum; regions get none. What is no number
    is passed over, as in the fork: a cell of nothing else is the least float32.
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.roi_pooling_param
        self._cells, self._scale = (param.pooled_h, param.pooled_w), np.float32(param.spatial_scale)
        if min(self._cells) < 1:
            raise self.error(f"pooled_h and pooled_w must be given and positive, found {self._cells}")
        self.check_scale(param.spatial_scale)
        # Of each maximum its place in the plane, -1 where there is none, (R, pooled_h, pooled_w, C).
        self._index: torch.Tensor | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(regions, C, pooled_h, pooled_w)."""
        top[0].reshape(self.check_bottoms(bottom), bottom[0].shape[1], *self._cells)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The features with channels last, the rows of some regions cut into cells; places of some diffs."""
        _, channels, height, _ = bottom[0].shape
        down, across = self._cells
        regions = top[0].shape[0] * (24 + 16 * (down + across))
        one = channels * across * max(height, down)
        return bottom[0].count + regions + 6 * max(one, min(_AT_ONCE, max(one, 1) * top[0].shape[0]))

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Where each maximum was."""
        return top[0].count

    def bounds(self, steps: np.ndarray, edge: np.ndarray) -> np.ndarray:
        return np.stack([np.floor(steps[:, :-1]), np.ceil(steps[:, 1:])]) + edge

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images, corners = self.regions(bottom)
        with np.errstate(all="ignore"):
            corners = _rounded(corners * self._scale)
            sides = np.maximum(corners[:, 2:] - corners[:, :2] + 1, 1)
        windows = self.windows(bottom, corners[:, :2], sides, self._cells)
        n, channels, height, width = bottom[0].shape
        x = bottom[0].data_tensor.permute(0, 2, 3, 1).reshape(n * height * width, channels)
        y = x.new_zeros(len(images), *self._cells, channels)
        self._index = torch.full(y.shape, -1, dtype=torch.int32, device=x.device)
        for some in self._alike(windows, channels):
            rows, columns = windows.rows[:, some], windows.columns[:, some]
            values, places = _maxima(x, images[some] * (height * width), rows, columns, width)
            which = torch.from_numpy(some).to(x.device)
            y[which], self._index[which] = values, places
        top[0].data_tensor = y.permute(0, 3, 1, 2)

    def _alike(self, windows: _Windows, channels: int) -> Iterator[np.ndarray]:
        """Regions of about the same size, some at a time, without those that are outside the image.

        NetError where all of them are too much work.
        """
        heights = windows.rows[1].max(1, initial=0) - windows.rows[0].min(1, initial=2**31)
        wide = (windows.columns[1] - windows.columns[0]).max(1, initial=0)
        tall = (windows.rows[1] - windows.rows[0]).max(1, initial=0)
        inside = (wide > 0) & (tall > 0)
        self.check_work(int((heights * wide)[inside].sum()) * self._cells[1], channels)
        size = np.frexp(np.stack([heights, wide, tall]))[1]  # equal: at most a factor of 2 apart
        kind = np.where(inside, size[0] << 12 | size[1] << 6 | size[2], -1)
        order = np.argsort(kind, kind="stable")
        for found in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
            if not inside[found].any():
                continue
            values = self._cells[1] * max(int(heights[found].max()), self._cells[0]) * channels
            step = max(_AT_ONCE // max(values, 1), 1)
            yield from (found[start : start + step] for start in range(0, len(found), step))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            bottom[1].zero_diff()
        if not propagate_down[0] or not bottom[0].count:
            return
        dy, index = top[0].diff_tensor.permute(0, 2, 3, 1), self._index
        if index is None or index.shape != dy.shape:
            raise self.error("backward needs a forward pass of the same shape first")
        n, c, height, width = bottom[0].shape
        first = torch.from_numpy(self.regions(bottom)[0] * (height * width)).to(dy.device)
        dx = torch.zeros(bottom[0].count, device=dy.device)
        step = max(_AT_ONCE // max(index[:1].numel(), 1), 1)
        for start in range(0, len(dy), step):
            part = slice(start, start + step)
            places = index[part].clamp(min=0) + first[part, None, None, None]
            places = places.mul_(c).add_(torch.arange(c, device=dy.device))
            dx.scatter_add_(0, places.view(-1), dy[part].masked_fill(index[part] < 0, 0).reshape(-1))
        bottom[0].diff_tensor = dx.view(n, height, width, c).permute(0, 3, 1, 2)


def _maxima(
    x: torch.Tensor, first: np.ndarray, rows: np.ndarray, columns: np.ndarray, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Maxima of the cells of some regions, and their places in the plane, (regions, cells, cells, C).

    x               pixels of all images, (pixels, C)
    first           of each region the first pixel of its image
    rows, columns   of each cell the first, and the one behind the last, (2, regions, cells)
    """
    top, bottom = rows[0].min(1), rows[1].max(1) - 1
    height = int((bottom - top).max()) + 1
    row = np.minimum(top[:, None] + np.arange(height), bottom[:, None])
    lines = _tensor(first[:, None] + row * width, x)[:, :, None]
    # Along the rows, then across: of equal values the first in the first row wins.
    race = _Race((len(first), height, columns.shape[2], x.shape[1]), x)
    for column in _members(columns):
        places = lines + _tensor(column, x)[:, None]
        race.enter(x[places], (places - _tensor(first, x)[:, None, None])[..., None])
    cut = _Race((len(first), rows.shape[2], columns.shape[2], x.shape[1]), x)
    which = torch.arange(len(first), device=x.device)[:, None]
    for row in _members(rows):
        line = _tensor(np.maximum(row - top[:, None], 0), x)
        cut.enter(race.best[which, line], race.places[which, line])
    inside = (rows[1] > rows[0])[:, :, None] & (columns[1] > columns[0])[:, None]
    outside = _tensor(~inside, x)[..., None]
    return cut.best.masked_fill_(outside, 0), cut.places.masked_fill_(outside, -1)


class _Race:
    """The greatest of values that come one after the other, and where it was."""

    def __init__(self, shape: tuple[int, ...], like: torch.Tensor) -> None:
        self.best = torch.full(shape, _LEAST, device=like.device)
        self.places = torch.full(shape, -1, dtype=torch.int32, device=like.device)

    def enter(self, values: torch.Tensor, places: torch.Tensor) -> None:
        better = values > self.best
        self.best = torch.where(better, values, self.best)
        self.places = torch.where(better, places.to(torch.int32), self.places)


def _members(windows: np.ndarray) -> Iterator[np.ndarray]:
    """First, second, ... row or column of each cell, (regions, cells); of one that is over the last again."""
    start, last = windows[0], np.maximum(windows[1] - 1, 0)
    for k in range(max(int((last - start).max()) + 1, 1)):
        yield np.minimum(start + k, last)


def _tensor(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values).to(like.device)


@register("PSROIPooling")
class PSROIPoolingLayer(_RegionLayer):
    """Top (R, output_dim, g, g), g = ``group_size``: means over cells, each cell's of a channel of its own.

    The features have output_dim * g * g channels; cell (i, j) of channel c is of channel (c * g + i) * g + j.
    Corners are rounded, then multiplied by ``spatial_scale`` and not rounded again; the last pixel belongs to
    the region. A cell outside the image is 0.
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.psroi_pooling_param
        self._dim, self._group = param.output_dim, param.group_size
        if not all(map(param.HasField, ("spatial_scale", "output_dim", "group_size"))):
            raise self.error("psroi_pooling_param needs spatial_scale, output_dim and group_size")
        if min(self._dim, self._group) < 1:
            raise self.error(f"output_dim and group_size must be positive, found {self._dim}, {self._group}")
        self.check_scale(param.spatial_scale)
        self._scale = np.float32(param.spatial_scale)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(regions, output_dim, group_size, group_size)."""
        regions, channels = self.check_bottoms(bottom), self._dim * self._group**2
        if bottom[0].shape[1] != channels:
            raise self.error(
                f"output_dim {self._dim} and group_size {self._group} need {channels} channels, found "
                f"{bottom[0].shape[1]}"
            )
        top[0].reshape(regions, self._dim, self._group, self._group)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Of some regions the pixels of all cells."""
        height, width = bottom[0].shape[2:]
        one = (height + 2 * self._group) * (width + 2 * self._group)
        pixels = max(one, min(_AT_ONCE // self._dim, one * top[0].shape[0]))
        regions = top[0].shape[0] * (16 + 16 * self._group + 6 * self._group**2)
        return bottom[0].count + (32 + 6 * self._dim) * pixels + regions

    def bounds(self, steps: np.ndarray, edge: np.ndarray) -> np.ndarray:
        steps = steps + edge
        return np.stack([np.floor(steps[:, :-1]), np.ceil(steps[:, 1:])])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data_tensor.contiguous().view(-1)
        y = x.new_zeros(top[0].shape)
        for part, cell, pixel, count in self._cells(bottom):
            places = torch.from_numpy(pixel).to(x.device) + self._planes(bottom, x.device)
            cells = torch.from_numpy(cell).to(x.device).expand(self._dim, -1)
            sums = x.new_zeros(self._dim, count.size).scatter_add_(1, cells, x[places])
            means = sums.view(self._dim, *count.shape) / torch.from_numpy(count).to(x.device).clamp_(min=1)
            y[part] = means.transpose(0, 1)
        top[0].data_tensor = y

    def _planes(self, bottom: Sequence[Blob], device: torch.device) -> torch.Tensor:
        """Where the first channels of each of the top's channels begin in an image, (output_dim, 1)."""
        plane = bottom[0].shape[2] * bottom[0].shape[3]
        return torch.arange(self._dim, device=device)[:, None] * (self._group**2 * plane)

    def _cells(self, bottom: Sequence[Blob]) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """For some regions at a time: which; of each pixel of each cell the cell, and where it is.

        That is where the features of the top's channel 0 are. Last, pixels a cell, (regions, g, g).
        """
        images, corners = self.regions(bottom)
        _, channels, height, width = bottom[0].shape
        with np.errstate(all="ignore"):
            corners = _rounded(corners).astype(np.float32)
            edges, ends = corners[:, :2] * self._scale, (corners[:, 2:] + 1) * self._scale
            sides = np.maximum(ends - edges, np.float32(0.1))
        windows = self.windows(bottom, edges, sides, (self._group, self._group))
        lengths = [np.maximum(part[1] - part[0], 0) for part in (windows.rows, windows.columns)]
        counts = lengths[0][:, :, None] * lengths[1][:, None]
        ends = np.cumsum(counts.sum((1, 2)))
        self.check_work(int(ends[-1]) if len(ends) else 0, self._dim)
        first = 0
        while first < len(images):
            before = ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + _AT_ONCE // self._dim, side="right")))
            part = slice(first, last)
            count = counts[part].ravel()
            cell = np.repeat(np.arange(len(count)), count)
            within = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count)
            region, i, j = np.unravel_index(cell, counts[part].shape)
            row = windows.rows[0, part][region, i] + within // lengths[1][part][region, j]
            column = windows.columns[0, part][region, j] + within % lengths[1][part][region, j]
            plane = images[part][region] * channels + i * self._group + j
            yield part, cell, (plane * height + row) * width + column, counts[part].astype(np.float32)
            first = last

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """The diff of a cell, divided by its pixels, to each of them."""
        if propagate_down[1]:
            bottom[1].zero_diff()
        if not propagate_down[0]:
            return
        dy = top[0].diff_tensor
        dx = torch.zeros(bottom[0].count, device=dy.device)
        for part, cell, pixel, count in self._cells(bottom):
            places = torch.from_numpy(pixel).to(dy.device) + self._planes(bottom, dy.device)
            shares = dy[part] / torch.from_numpy(count).to(dy.device)[:, None].clamp_(min=1)
            shares = shares.transpose(0, 1).reshape(self._dim, -1)
            dx.scatter_add_(0, places.view(-1), shares[:, torch.from_numpy(cell).to(dy.device)].view(-1))
        bottom[0].diff_tensor = dx.view(bottom[0].shape)
