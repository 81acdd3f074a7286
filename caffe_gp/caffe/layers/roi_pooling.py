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
    which has one of both at least. The diff goes to the first maximum; regions get none.
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.roi_pooling_param
        self._cells, self._scale = (param.pooled_h, param.pooled_w), np.float32(param.spatial_scale)
        if min(self._cells) < 1:
            raise self.error(f"pooled_h and pooled_w must be given and positive, found {self._cells}")
        self.check_scale(param.spatial_scale)
        self._index: torch.Tensor | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(regions, C, pooled_h, pooled_w)."""
        top[0].reshape(self.check_bottoms(bottom), bottom[0].shape[1], *self._cells)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Of some channels the rows of a region, each cut into cells."""
        height, width = bottom[0].shape[2:]
        down, across = self._cells
        one = across * height * max(width, down)
        regions = top[0].shape[0] * (16 + 16 * (down + across))
        return 4 * max(one, min(_AT_ONCE, one * bottom[0].shape[1])) + regions

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Where each maximum was."""
        return 2 * top[0].count

    def bounds(self, steps: np.ndarray, edge: np.ndarray) -> np.ndarray:
        return np.stack([np.floor(steps[:, :-1]), np.ceil(steps[:, 1:])]) + edge

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images, corners = self.regions(bottom)
        with np.errstate(all="ignore"):
            corners = _rounded(corners * self._scale)
            sides = np.maximum(corners[:, 2:] - corners[:, :2] + 1, 1)
        windows = self.windows(bottom, corners[:, :2], sides, self._cells)
        x = bottom[0].data_tensor
        y = x.new_zeros(top[0].shape)
        self._index = torch.full(top[0].shape, -1, dtype=torch.int64, device=x.device)
        for i, image in enumerate(images):
            for channels in self._some_channels(windows, i, x.shape[1]):
                _pool(x[image, channels], windows, i, y[i, channels], self._index[i, channels])
        top[0].data_tensor = y

    def _some_channels(self, windows: _Windows, i: int, channels: int) -> Iterator[slice]:
        rows, columns = (int((part[1, i] - part[0, i]).max()) for part in (windows.rows, windows.columns))
        height = int(windows.rows[1, i].max() - windows.rows[0, i].min())
        values = self._cells[1] * max(height * columns, self._cells[0] * rows, 1)
        step = max(_AT_ONCE // values, 1)
        return (slice(first, first + step) for first in range(0, channels, step))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            bottom[1].zero_diff()
        if not propagate_down[0]:
            return
        dy, index = top[0].diff_tensor, self._index
        if index is None or index.shape != dy.shape:
            raise self.error("backward needs a forward pass of the same shape first")
        n, c, height, width = bottom[0].shape
        images, _ = self.regions(bottom)
        planes = torch.from_numpy(images).to(dy.device)[:, None] * c + torch.arange(c, device=dy.device)
        places = planes[:, :, None, None] * (height * width) + index
        there = index >= 0
        dx = torch.zeros(n * c * height * width, device=dy.device)
        bottom[0].diff_tensor = dx.scatter_add_(0, places[there], dy[there]).view(n, c, height, width)


def _pool(x: torch.Tensor, windows: _Windows, i: int, y: torch.Tensor, index: torch.Tensor) -> None:
    """Write maxima of region ``i`` of some channels (c, H, W), and their places, into (c, cells, cells)."""
    rows = _members(windows.rows[:, i], x.device)
    columns = _members(windows.columns[:, i], x.device)
    if rows is None or columns is None:
        return
    first, last = int(rows.min()), int(rows.max()) + 1
    # Along the rows, then across: of equal values the first in the first row wins.
    values, place = x[:, first:last, columns].max(3)
    place = columns.expand(*place.shape, -1).gather(3, place[..., None])[..., 0]
    values, which = values[:, rows - first].max(2)
    which = which[:, :, None]
    place = place[:, rows - first].gather(2, which)[:, :, 0]
    row = rows[:, :, None].expand(len(x), -1, -1, which.shape[3]).gather(2, which)[:, :, 0]
    full = [part[1, i] > part[0, i] for part in windows]
    empty = torch.from_numpy(~(full[0][:, None] & full[1])).to(x.device)
    y.copy_(values.masked_fill_(empty, 0))
    index.copy_((row * x.shape[2] + place).masked_fill_(empty, -1))


def _members(window: np.ndarray, device: torch.device) -> torch.Tensor | None:
    """(cells, most) rows or columns of each cell, its last one repeated; None if all cells are empty."""
    start, end = window
    most = int((end - start).max())
    if most < 1:
        return None
    last = np.maximum(end - 1, 0)[:, None]
    return torch.from_numpy(np.minimum(start[:, None] + np.arange(most), last)).to(device)


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
