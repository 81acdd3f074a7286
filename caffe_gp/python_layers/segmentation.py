"""Layers of segmentation and classification forks as ``type: "Python"`` layers: see ``builtin``.

Each computes with numpy what the embedded Caffe's layer of its name computes; what is not said here is said
there. Where a fork's backward is not the derivative, neither is it here.
"""

from __future__ import annotations

import json
from typing import Any, Sequence

import numpy as np

from caffe_gp.images.unpooling import AVE, MAX, Unpooling, Upsample, Windows
from caffe_gp.python_layers.base import Layer

SEGNET_EPS = 1e-9  # of BN
TEST = 1


class _OneBottom(Layer):
    """A layer whose top has its bottom's shape."""

    def reshape(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """The bottom's."""
        top[0].reshape(*bottom[0].data.shape)


class AxpyLayer(Layer):
    """SENet's ``a x + y``: factors (N, C) or (N, C, 1, 1), then two blobs (N, C, H, W)."""

    gives_diffs_to = 3

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Nothing to read."""

    def reshape(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """The shape of x. ValueError where the bottoms do not fit together."""
        factors, x, y = (bottom[i].data.shape for i in range(3))
        if len(x) != 4 or x != y or factors not in (x[:2], (*x[:2], 1, 1)):
            raise ValueError(f"factors {factors} and blobs {x} and {y} do not fit together")
        self._factors = (*x[:2], 1, 1)
        top[0].reshape(*x)

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        np.multiply(bottom[0].data.reshape(self._factors), bottom[1].data, out=top[0].data)
        top[0].data[...] += bottom[2].data

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        dy = top[0].diff
        if propagate_down[0]:
            sums = (dy * bottom[1].data).sum((2, 3))
            bottom[0].diff[...] = sums.reshape(bottom[0].diff.shape)
        if propagate_down[1]:
            bottom[1].diff[...] = dy * bottom[0].data.reshape(self._factors)
        if propagate_down[2]:
            bottom[2].diff[...] = dy


class ShuffleChannelLayer(_OneBottom):
    """ShuffleNet's exchange of channels: channel i of group j becomes channel i g + j."""

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """ValueError for a group that does not divide the channels."""
        group, channels = json.loads(self.param_str).get("group", 1), bottom[0].data.shape[1]
        if group < 1 or channels % group:
            raise ValueError(f"group {group} does not divide the {channels} channels")
        self._order = np.arange(channels).reshape(group, -1).T.ravel()

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        top[0].data[...] = bottom[0].data[:, self._order]

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        if propagate_down[0]:
            bottom[0].diff[:, self._order] = top[0].diff


class ReLU6Layer(_OneBottom):
    """``min(max(x, 0) + negative_slope * min(x, 0), 6)``."""

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        self._slope = np.float32(json.loads(self.param_str).get("negative_slope", 0))

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        x = bottom[0].data
        below = x * self._slope if self._slope else np.float32(0)
        top[0].data[...] = np.minimum(np.where(x > 0, x, below), 6)

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        if propagate_down[0]:
            x = bottom[0].data
            slope = np.where(x > 0, np.float32(1), self._slope)
            bottom[0].diff[...] = np.where(x < 6, slope * top[0].diff, 0)


class MishLayer(_OneBottom):
    """``x tanh(log(1 + exp(x)))``."""

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Nothing to read."""

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Keeps the derivative, which the top in place would not tell."""
        x = bottom[0].data.copy()
        small = np.exp(-np.abs(x))
        inner = np.tanh(np.log1p(small) + np.maximum(x, 0))
        sigmoid = np.where(x > 0, 1, small) / (1 + small)
        self._derivative = inner + x * sigmoid * (1 - inner * inner)
        top[0].data[...] = x * inner

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self._derivative


class CropCenterLayer(Layer):
    """waifu2x-caffe's: ``crop_size``, one for each axis, is cut from both ends of the axis."""

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        self._cut = json.loads(self.param_str).get("crop_size", [])

    def reshape(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """ValueError where nothing is left."""
        shape = bottom[0].data.shape
        if len(self._cut) != len(shape) or any(2 * cut >= n for cut, n in zip(self._cut, shape)):
            raise ValueError(f"crop_size {self._cut} does not suit the shape {shape}")
        self._window = tuple(slice(cut, n - cut) for cut, n in zip(self._cut, shape))
        top[0].reshape(*(part.stop - part.start for part in self._window))

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        top[0].data[...] = bottom[0].data[self._window]

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = 0
            bottom[0].diff[self._window] = top[0].diff


class _Masked(Layer):
    """Values put at the places h * W + w of a mask; what Upsample and Unpooling share."""

    def _rows(self, bottom: Sequence[Any], top: Sequence[Any]) -> np.ndarray:
        """Indices, (N * C, values). ValueError for one outside of the top's planes."""
        n, c, h, w = bottom[0].data.shape
        mask = bottom[1].data[:, :c].reshape(n * c, h * w)  # further channels do not count
        places = int(np.prod(top[0].data.shape[2:]))
        if not ((mask >= 0) & (mask < places)).all():
            raise ValueError(f"the mask points outside of the {places} places of the output plane")
        return mask.astype(np.int64)

    def _unpool(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        rows = self._rows(bottom, top)
        out = np.zeros((len(rows), int(np.prod(top[0].data.shape[2:]))), np.float32)
        np.put_along_axis(out, rows, bottom[0].data.reshape(rows.shape), 1)  # of equal places the last stays
        top[0].data[...] = out.reshape(top[0].data.shape)

    def _gather(self, top: Sequence[Any], bottom: Sequence[Any]) -> None:
        rows = self._rows(bottom, top)
        diff = np.take_along_axis(top[0].diff.reshape(len(rows), -1), rows, 1)
        bottom[0].diff[...] = diff.reshape(bottom[0].diff.shape)


class UpsampleLayer(_Masked):
    """SegNet's and ENet's by a mask, the second bottom; with one bottom the YOLO ports' repetition."""

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """ValueError for values that make no sense."""
        self._rule = Upsample(len(bottom) == 2, **json.loads(self.param_str))

    def reshape(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        n, c, *size = bottom[0].data.shape
        top[0].reshape(n, c, *self._rule.output_size(size))

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        if self._rule.masked:
            self._unpool(bottom, top)
        else:
            rows, columns = self._rule.factors
            top[0].data[...] = bottom[0].data.repeat(rows, 2).repeat(columns, 3)

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        if propagate_down[0] and self._rule.masked:
            self._gather(top, bottom)
        elif propagate_down[0]:
            (n, c, h, w), (rows, columns) = bottom[0].data.shape, self._rule.factors
            bottom[0].diff[...] = top[0].diff.reshape(n, c, h, rows, w, columns).sum((3, 5))


class UnpoolingLayer(_Masked):
    """DeconvNet's: MAX with or without a mask, AVE and TILE."""

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """ValueError for values that make no sense."""
        self._rule = Unpooling(len(bottom) == 2, **json.loads(self.param_str))

    def reshape(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """And where the windows are."""
        n, c, *size = bottom[0].data.shape
        top[0].reshape(n, c, *self._rule.output_size)
        self._places = [
            np.minimum(np.arange(count) * stride, whole - 1)
            for count, stride, whole in zip(size, self._rule.strides, self._rule.output_size)
        ]
        rows, columns = self._windows = self._rule.windows(size)
        self._cells = np.outer(rows.cells(), columns.cells()).astype(np.float32)

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        if self._rule.masked:
            self._unpool(bottom, top)
            return
        x, y = bottom[0].data, top[0].data
        if self._rule.unpool == MAX:
            rows, columns = self._places
            y[...] = 0
            y[:, :, rows[:, np.newaxis], columns] = x  # of equal places the last stays
            return
        rows, columns = self._windows
        x = x[:, :, : rows.number, : columns.number]
        if self._rule.unpool == AVE:
            x = x / self._cells
        y[...] = _spread(_spread(x, rows, 2), columns, 3)

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        if not propagate_down[0]:
            return
        if self._rule.masked:
            self._gather(top, bottom)
            return
        dy, dx = top[0].diff, bottom[0].diff
        if self._rule.unpool == MAX:
            rows, columns = self._places
            dx[...] = dy[:, :, rows[:, np.newaxis], columns]
            return
        rows, columns = self._windows
        dx[...] = 0
        dx[:, :, : rows.number, : columns.number] = _sums(_sums(dy, rows, 2), columns, 3) / self._cells


def _spread(x: np.ndarray, windows: Windows, axis: int) -> np.ndarray:
    """Along an axis each value is added to all cells of its window, as far as these are inside of the top."""
    shape = list(x.shape)
    shape[axis] = windows.extent - 1 + windows.size
    begun = np.zeros(shape, np.float32)
    first, last = windows.extent - 1, windows.extent - 1 + (windows.number - 1) * windows.step
    begun[_along(axis, slice(first, last + 1, windows.step))] = x
    return _sliding_sums(begun, windows.extent, axis)


def _sums(y: np.ndarray, windows: Windows, axis: int) -> np.ndarray:
    """The adjoint of ``_spread``."""
    missing = [(0, 0)] * y.ndim
    missing[axis] = (0, max(0, windows.reach - y.shape[axis]))
    sums = _sliding_sums(np.pad(y, missing), windows.extent, axis)
    return sums[_along(axis, slice(0, (windows.number - 1) * windows.step + 1, windows.step))]


def _sliding_sums(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Along an axis the sums of every ``size`` values in a row, by sums of 1, 2, 4, ... values."""
    count = x.shape[axis] - size + 1
    total = np.zeros_like(x[_along(axis, slice(count))])
    done, length = 0, 1
    while True:
        if size & length:
            total += x[_along(axis, slice(done, done + count))]
            done += length
        if done == size:
            return total
        left = x.shape[axis] - length
        x = x[_along(axis, slice(left))] + x[_along(axis, slice(length, None))]
        length *= 2


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)


class BNLayer(_OneBottom):
    """SegNet's BN, of two blobs, or PSPNet's, of four: the key ``keeps_statistics`` tells.

    The key ``fillers``: of the two blobs that both have, constant ones. The key ``learn`` (default true):
    whether to compute the parameters' diffs.
    """

    def setup(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Read the parameters, create and fill the blobs. ValueError for what a stand-in has not."""
        fields = json.loads(self.param_str)
        self._learn, self._keeps_statistics = fields.get("learn", True), fields["keeps_statistics"]
        self._frozen, self._momentum = fields.get("frozen", False), np.float32(fields.get("momentum", 0.9))
        self._folded = not self._keeps_statistics and fields.get("bn_mode", 0) == 1
        self._fixed = self._folded or self._keeps_statistics and (self.phase == TEST or self._frozen)
        self._through_statistics = not (self._folded or self._frozen)
        self._eps = np.float32(fields.get("eps", 1e-5) if self._keeps_statistics else SEGNET_EPS)
        if len(top) > 1:
            raise ValueError("the batch's statistics, tops 2 and 3, are not available here")
        values = [_constant(filler) for filler in fields["fillers"]]
        values += [0.0, float(self._frozen)] if self._keeps_statistics else []
        for i, value in enumerate(values):
            self.blobs.add_blob(1, bottom[0].data.shape[1], 1, 1)
            self.blobs[i].data[...] = value

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        x = bottom[0].data
        self._inverse_std: Any = 1
        if self._folded:
            self._normalised = x.copy()
        else:
            mean, variance = self._statistics(x)
            self._inverse_std = np.float32(1) / np.sqrt(variance + self._eps)
            self._normalised = (x - mean) * self._inverse_std
        top[0].data[...] = self._normalised * self.blobs[0].data + self.blobs[1].data

    def _statistics(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._fixed:
            return self.blobs[2].data, self.blobs[3].data
        mean = x.mean((0, 2, 3), keepdims=True)
        variance = np.square(x - mean).mean((0, 2, 3), keepdims=True)
        if self._keeps_statistics:
            for i, value in ((2, mean), (3, variance)):
                moving = self.blobs[i].data
                moving[...] = self._momentum * moving + (1 - self._momentum) * value
        return mean, variance

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        dy, axes = top[0].diff, (0, 2, 3)
        if self._learn:
            for i, values in enumerate((dy * self._normalised, dy)):
                total = values.sum(axes, keepdims=True)
                self.blobs[i].diff[...] = total + (self.blobs[i].diff if self._keeps_statistics else 0)
        if propagate_down[0]:
            g = dy * self.blobs[0].data
            if self._through_statistics:
                through = (g * self._normalised).mean(axes, keepdims=True)
                g = g - g.mean(axes, keepdims=True) - self._normalised * through
            bottom[0].diff[...] = g * self._inverse_std


def _constant(filler: dict) -> float:
    """The value of a constant filler. ValueError for another."""
    if filler.get("type", "constant") != "constant":
        raise ValueError(f"a filler of type '{filler['type']}' is not available here, expected 'constant'")
    return float(filler.get("value", 0))
