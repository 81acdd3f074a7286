"""Unpooling: DeconvNet's layer, and what it shares with Upsample: values put where a mask says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.images.unpooling import AVE, MAX, Unpooling, Windows
from caffe_gp.proto.set_fields import set_fields


class MaskLayer(Layer):
    """Values are put into planes of zeros, at the places h * W + w of a mask, a MAX Pooling's second top.

    Of several values with one place the last counts. Backward gathers from the places, for each of those
    that met, too: as in the forks.
    """

    def allow_force_backward(self, bottom_index: int) -> bool:
        """The mask has no gradient."""
        return bottom_index == 0

    def check_bottoms(self, bottom: Sequence[Blob], further_channels: bool = False) -> None:
        """NetError unless the values, and the mask if there is one, have one shape of four axes.

        further_channels   whether the mask may have more of them, which do not count
        """
        values, mask = bottom[0].shape, bottom[-1].shape
        if len(values) != 4:
            raise self.error(f"the bottom must have 4 axes, found {values}")
        if further_channels and len(mask) == 4 and mask[1] > values[1]:
            mask = (mask[0], values[1], *mask[2:])
        if values != mask:
            raise self.error(f"values and mask must have one shape, found {values} and {bottom[1].shape}")

    @contextmanager
    def values_named(self) -> Iterator[None]:
        """Within it a rule's ValueError becomes a NetError that names this layer."""
        try:
            yield
        except ValueError as error:
            raise self.error(str(error)) from None

    def mask_workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Values of the indices, and of what finds out which of equal ones is the last."""
        return 7 * bottom[0].count + 2 * top[0].count

    def unpool(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The top's data."""
        n, c, h, w = top[0].shape
        index, x = self._index(bottom, h, w), bottom[0].data_tensor.flatten(2)
        y = torch.zeros(n, c, h * w, device=x.device).scatter_(2, index, x)
        if not torch.equal(y.gather(2, index), x):  # some met, and torch leaves open which of them counts
            order = torch.arange(1, x.shape[2] + 1, device=x.device).expand_as(index)
            last = torch.zeros(y.shape, dtype=torch.int64, device=x.device)
            last.scatter_reduce_(2, index, order, "amax")
            y.scatter_(2, index, x.gather(2, last.gather(2, index).sub_(1)))
        top[0].data_tensor = y.view(n, c, h, w)

    def gather(self, top: Sequence[Blob], bottom: Sequence[Blob]) -> None:
        """The diff of the values."""
        h, w = top[0].shape[2:]
        dy = top[0].diff_tensor.flatten(2)
        bottom[0].diff_tensor = dy.gather(2, self._index(bottom, h, w)).view(bottom[0].shape)

    def _index(self, bottom: Sequence[Blob], height: int, width: int) -> torch.Tensor:
        mask = bottom[1].data_tensor[:, : bottom[0].shape[1]].flatten(2)
        outside = ~((mask >= 0) & (mask < height * width))  # NaN is, too
        if bool(outside.any()):
            raise self.error(
                f"the mask holds {float(mask[outside][0]):g}, which is no place of the output plane of "
                f"{height} x {width}: its size must be that of the blob that was pooled"
            )
        return mask.to(torch.int64)


@register("Unpooling")
class UnpoolingLayer(MaskLayer):
    """The top is ``unpool_h`` x ``unpool_w``; window (p, q) begins at (p stride_h, q stride_w).

    MAX: with a mask (the second bottom) values go to its places, without one to the beginning of their
    window; zero elsewhere. Of a mask with more channels than the values have the first count. AVE: each
    value, divided by the number of cells of its window, is added to all of them; TILE adds the value itself.
    Windows end where the plane does.
    """

    not_derivative = "TILE; where values of MAX meet"
    min_bottom = 1
    max_bottom = 2
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        fields = set_fields(self.layer_param.unpooling_param)
        self._masked = len(bottom) == 2
        with self.values_named():
            self._rule = Unpooling(self._masked, **fields)
        self._size = self._rule.output_size

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(N, C, unpool_h, unpool_w)."""
        self.check_bottoms(bottom, further_channels=True)
        top[0].reshape(*bottom[0].shape[:2], *self._size)
        self._windows = self._rule.windows(bottom[0].shape[2:])

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The indices; what is picked from the bottom; or three of the largest sums on the way to the top."""
        if self._masked:
            return self.mask_workspace(bottom, top)
        if self._rule.unpool == MAX:
            return 3 * bottom[0].count
        rows, columns = self._windows
        high, wide = rows.size + rows.extent, columns.size + columns.extent
        planes = bottom[0].count_from(0, 2)
        return 2 * bottom[0].count + 3 * planes * max(rows.size * wide, high * columns.size)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self._masked:
            self.unpool(bottom, top)
        elif self._rule.unpool == MAX:
            x, (rows, columns) = bottom[0].data_tensor, self._beginnings(bottom[0])
            y = torch.zeros(*x.shape[:2], *self._size, device=x.device)
            last_rows, last_columns = _last_of_each(rows), _last_of_each(columns)
            kept = x[:, :, last_rows][:, :, :, last_columns]
            y[:, :, rows[last_rows].unsqueeze(1), columns[last_columns]] = kept
            top[0].data_tensor = y
        else:
            top[0].data_tensor = self._spread(bottom[0].data_tensor)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """MAX gathers from where values went; AVE is the mean over each window, and so, as in the fork, TILE.

        The derivative of TILE is their sum.
        """
        if not propagate_down[0]:
            return
        if self._masked:
            self.gather(top, bottom)
        elif self._rule.unpool == MAX:
            rows, columns = self._beginnings(bottom[0])
            bottom[0].diff_tensor = top[0].diff_tensor[:, :, rows.unsqueeze(1), columns]
        else:
            bottom[0].diff_tensor = self._means(top[0].diff_tensor, bottom[0])

    def _beginnings(self, blob: Blob) -> list[torch.Tensor]:
        """Where the windows begin, rows and columns, the last place of the plane at most."""
        device = blob.data_tensor.device
        return [
            (torch.arange(n, device=device) * stride).clamp_(max=size - 1)
            for n, stride, size in zip(blob.shape[2:], self._rule.strides, self._size)
        ]

    def _cells(self, device: torch.device) -> torch.Tensor:
        """The number of cells of each window, (rows, columns)."""
        rows, columns = (torch.tensor(part.cells(), device=device) for part in self._windows)
        return torch.outer(rows, columns).to(torch.float32)

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        """Each cell of the top is the sum of the windows that begin at most a window before it."""
        rows, columns = self._windows
        x = x[:, :, : rows.number, : columns.number]
        if self._rule.unpool == AVE:
            x = x / self._cells(x.device)
        for dim, part in ((2, rows), (3, columns)):
            shape = list(x.shape)
            shape[dim] = part.extent - 1 + part.size
            begun = x.new_zeros(shape)
            begun.narrow(dim, part.extent - 1, part.size).index_copy_(dim, _starts(part, x), x)
            x = _sliding_sums(begun, part.extent, dim)
        return x

    def _means(self, dy: torch.Tensor, bottom: Blob) -> torch.Tensor:
        rows, columns = self._windows
        dy = _resized(dy, (rows.reach, columns.reach))
        for dim, part in ((2, rows), (3, columns)):
            dy = _sliding_sums(dy, part.extent, dim).index_select(dim, _starts(part, dy))
        return _resized(dy.div_(self._cells(dy.device)), bottom.shape[2:])


@register("UnPooling")
class UnPoolingLayer(UnpoolingLayer):
    """The same layer by the name that ports of ENet gave it."""


def _last_of_each(places: torch.Tensor) -> torch.Tensor:
    """Of ascending places, the index of the last of each."""
    ends = torch.ones_like(places, dtype=torch.bool)
    torch.ne(places[1:], places[:-1], out=ends[:-1])
    return ends.nonzero().flatten()


def _resized(values: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Cut off, or filled up with zeros, below and to the right."""
    missing = (0, size[1] - values.shape[3], 0, size[0] - values.shape[2])
    return F.pad(values, missing) if any(missing) else values


def _starts(part: Windows, like: torch.Tensor) -> torch.Tensor:
    """Where the windows begin."""
    return torch.arange(part.number, device=like.device) * part.step


def _sliding_sums(x: torch.Tensor, size: int, dim: int) -> torch.Tensor:
    """Along one axis the sums of every ``size`` values in a row; a new tensor.

    By sums of 1, 2, 4, ... values, so that a large window costs hardly more than a small one.
    """
    count = x.shape[dim] - size + 1
    total = torch.zeros_like(x.narrow(dim, 0, count))
    done, length = 0, 1
    while True:
        if size & length:
            total += x.narrow(dim, done, count)
            done += length
        if done == size:
            return total
        left = x.shape[dim] - length
        x = x.narrow(dim, 0, left) + x.narrow(dim, length, left)
        length *= 2
