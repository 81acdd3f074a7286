"""Pooling: MAX, AVE and STOCHASTIC windows, with Caffe's rounding and border rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.pooling_layer import MaxPooling
from caffe_gp.caffe.fast.windows import Geometry, Window, channels_last
from caffe_gp.caffe.layers.base import TRAIN, Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb

Pair = tuple[int, int]


def pooled_sizes(size: Pair, kernel: Pair, stride: Pair, pad: Pair, floor: bool) -> tuple[int, ...]:
    """Windows along both axes: rounded up unless ``floor``; with a pad on either, the last start inside."""
    found = []
    for n, k, s, p in zip(size, kernel, stride, pad):
        span = (n + 2 * p - k) / s
        out = (math.floor(span) if floor else math.ceil(span)) + 1
        if any(pad) and (out - 1) * s >= n + p:
            out -= 1
        found.append(out)
    return tuple(found)


@register("Pooling")
class PoolingLayer(Layer):
    """Bottom (N, C, H, W); top 0 the pooled values; top 1 (MAX only) the index h * W + w of each maximum."""

    exact_num_bottom = 1
    min_top = 1
    reshapes_by_shape = True
    computes_parts = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.pooling_param
        self._method = param.pool
        self._fast: MaxPooling | None = None
        self.max_top = 2 if self._method == pb.PoolingParameter.MAX else 1
        self.check_blob_counts(len(bottom), len(top))
        self._global = param.global_pooling
        self._floor = param.round_mode == pb.PoolingParameter.FLOOR
        if self._global and (param.kernel_size or param.kernel_h or param.kernel_w):
            raise self.error("With Global_pooling: true Filter size cannot specified")
        self._kernel = self._pair(param, "kernel_size", "kernel", 0)
        self._stride = self._pair(param, "stride", "stride", 1)
        self._pad = self._pair(param, "pad", "pad", 0)
        if self._global and (self._pad != (0, 0) or self._stride != (1, 1)):
            raise self.error("With Global_pooling: true; only pad = 0 and stride = 1")
        if not self._global and min(self._kernel) < 1:
            raise self.error(f"Filter dimensions cannot be zero, found {self._kernel}")
        if min(self._stride) < 1:
            raise self.error(f"the stride must be at least 1, found {self._stride}")
        if not self._global and any(p >= k for p, k in zip(self._pad, self._kernel)):
            raise self.error(f"pad {self._pad} must be smaller than the kernel {self._kernel}")
        if self._pad != (0, 0) and self._method == pb.PoolingParameter.STOCHASTIC:
            raise self.error("Padding implemented only for average and max pooling.")

    def _pair(self, param: Any, field: str, short: str, default: int) -> tuple[int, int]:
        if param.HasField(f"{short}_h") or param.HasField(f"{short}_w"):
            if param.HasField(field):
                raise self.error(f"either {field} or {short}_h/{short}_w should be specified, not both")
            return getattr(param, f"{short}_h"), getattr(param, f"{short}_w")
        value = getattr(param, field) if param.HasField(field) else default
        return value, value

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(N, C, pooled H, pooled W)."""
        if len(bottom[0].shape) != 4:
            raise self.error(
                f"Input must have 4 axes, corresponding to (num, channels, height, width): {bottom[0].shape}"
            )
        n, c, height, width = bottom[0].shape
        if self._global:
            self._kernel = (height, width)
        self._out = pooled_sizes((height, width), self._kernel, self._stride, self._pad, self._floor)
        if min(self._out) < 1:
            raise self.error(f"the kernel {self._kernel} does not fit into the bottom {bottom[0].shape}")
        self._torch_agrees = self._fits_torch(bottom[0].shape)
        for blob in top:
            blob.reshape(n, c, *self._out)

    @property
    def geometry(self) -> Geometry:
        """Of the windows; a global one's kernel is the image."""
        return Geometry(self._kernel, self._stride, self._pad)

    def reached(self, window: Window, top: Blob) -> Window:
        """Of the windows those that overlap this part of the images."""
        return self.geometry.reached(window, self._out)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Every window's elements, where Caffe's rules are not torch's; their indices are of 8 bytes."""
        fits = self._method != pb.PoolingParameter.STOCHASTIC and self._torch_agrees
        if fits or self._is_fast(bottom, top):
            return 0
        elements = math.prod(self._kernel)
        return (3 * top[0].count + 2 * math.prod(self._out)) * elements

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Where each maximum was, in 8 bytes or one."""
        if self._is_fast(bottom, top):
            return top[0].count // 4
        return 0 if self._method == pb.PoolingParameter.AVE else 2 * top[0].count

    def _is_fast(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        is_max = self._method == pb.PoolingParameter.MAX and len(top) == 1
        return is_max and MaxPooling.pays(self._kernel, bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._index: torch.Tensor | None = None
        if self._is_fast(bottom, top):
            if self._fast is None or self._fast.geometry != self.geometry:
                self._fast = MaxPooling(self.geometry)
            self._fast.forward(bottom[0], top[0], self.window)
            return
        self._fast = None
        x = bottom[0].data_tensor
        if self._method == pb.PoolingParameter.MAX:
            y, index = self._max(x)
            self._index = index
            if len(top) > 1:
                top[1].data_tensor = index.to(torch.float32)
        elif self._method == pb.PoolingParameter.AVE:
            y = self._average(x)
        else:
            y, self._index = self._stochastic(x)
        top[0].data_tensor = y

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Diffs go to the maximum (or the drawn element) of each window, or are spread evenly (AVE)."""
        if not propagate_down[0]:
            return
        if self._fast is not None:
            if not self._fast.is_of(bottom[0], top[0]):
                raise self.error("backward needs a forward pass of the same shape first")
            self._fast.backward(top[0], bottom[0], self.diff_window)
            return
        dy, x = top[0].diff_tensor, bottom[0].data_tensor
        if self._method == pb.PoolingParameter.AVE:
            bottom[0].diff_tensor = self._average_backward(dy, x)
        elif self._method == pb.PoolingParameter.STOCHASTIC and self.phase != TRAIN:
            bottom[0].diff_tensor = self._weighted_mean_backward(dy, x, top[0].data_tensor)
        elif self._method == pb.PoolingParameter.MAX and self._torch_agrees:
            bottom[0].diff_tensor = torch.ops.aten.max_pool2d_with_indices_backward(
                dy, x, self._kernel, self._stride, self._pad, [1, 1], not self._floor, self._index
            )
        else:
            assert self._index is not None
            n, c, h, w = x.shape
            index, values = self._index.reshape(n, c, -1), dy.reshape(n, c, -1)
            dx = torch.zeros(n, c, h * w, device=x.device)
            # Index -1: a window that lies wholly outside (stride beyond the kernel); its diff goes nowhere.
            dx.scatter_add_(2, index.clamp(min=0), torch.where(index >= 0, values, 0.0))
            bottom[0].diff_tensor = dx.view(n, c, h, w)

    # ---- methods

    def _fits_torch(self, shape: Sequence[int]) -> bool:
        """Whether torch's kernels accept this geometry and make the same number of windows."""
        if any(2 * p > k for p, k in zip(self._pad, self._kernel)):
            return False
        for size, k, s, p, out in zip(shape[2:], self._kernel, self._stride, self._pad, self._out):
            span = size + 2 * p - k
            theirs = (span if self._floor else span + s - 1) // s + 1
            if not self._floor and (theirs - 1) * s >= size + p:
                theirs -= 1
            if theirs != out:
                return False
        return True

    def _max(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._torch_agrees:
            # torch's kernel for channels-last memory is three times as fast, the change of layout included.
            if x.device.type == "cpu":
                x = channels_last(x)
            return F.max_pool2d_with_indices(
                x, self._kernel, self._stride, self._pad, [1, 1], not self._floor
            )
        windows, index = self._windows(x, torch.finfo(torch.float32).min)  # Caffe's start value
        values, at = windows.max(-1)  # torch returns the first of equal maxima
        return values, index.expand_as(windows).gather(-1, at.unsqueeze(-1)).squeeze(-1).contiguous()

    def _average(self, x: torch.Tensor) -> torch.Tensor:
        if self._torch_agrees:
            return F.avg_pool2d(x, self._kernel, self._stride, self._pad, not self._floor, True)
        windows, _ = self._windows(x, 0.0)
        return windows.sum(-1) / self._divisor(x)

    def _average_backward(self, dy: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if self._torch_agrees:
            return torch.ops.aten.avg_pool2d_backward(
                dy, x, self._kernel, self._stride, self._pad, not self._floor, True, None
            )
        _, index = self._windows(x[:1, :1], 0.0)
        return _collected((dy / self._divisor(x)).unsqueeze(-1), index, x)

    def _stochastic(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """TRAIN: an element drawn with probability proportional to it; TEST: the mean so weighted."""
        windows, index = self._windows(x, 0.0)
        if self.phase == TRAIN:
            total = windows.cumsum(-1)
            threshold = torch.rand_like(total[..., :1]) * total[..., -1:]
            at = (total < threshold).sum(-1, keepdim=True).clamp(max=windows.shape[-1] - 1)
            chosen = index.expand_as(windows).gather(-1, at).squeeze(-1).clamp(min=0)
            return windows.gather(-1, at).squeeze(-1), chosen.contiguous()
        weight = windows.sum(-1)
        return (windows**2).sum(-1) / weight.clamp(min=torch.finfo(torch.float32).tiny), None

    def _weighted_mean_backward(self, dy: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Of sum x^2 / sum x; Caffe, whose STOCHASTIC needs a GPU, leaves it undefined."""
        windows, index = self._windows(x, 0.0)
        weight = windows.sum(-1).clamp(min=torch.finfo(torch.float32).tiny)
        return _collected((2 * windows - y.unsqueeze(-1)) * (dy / weight).unsqueeze(-1), index, x)

    def _windows(self, x: torch.Tensor, outside: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C, out H, out W, elements) of every window, and their indices h * W + w (-1 outside)."""
        h, w = x.shape[2:]
        (kh, kw), (sh, sw), (ph, pw), (oh, ow) = self._kernel, self._stride, self._pad, self._out
        bottom_pad = max(0, (oh - 1) * sh + kh - h - ph)
        right_pad = max(0, (ow - 1) * sw + kw - w - pw)
        index = torch.arange(h * w, device=x.device).view(1, 1, h, w)

        def unfold(values: torch.Tensor, fill: float) -> torch.Tensor:
            padded = F.pad(values, (pw, right_pad, ph, bottom_pad), value=fill)
            return padded.unfold(2, kh, sh).unfold(3, kw, sw)[:, :, :oh, :ow].flatten(4)

        return unfold(x, outside), unfold(index, -1)

    def _divisor(self, x: torch.Tensor) -> torch.Tensor:
        """Elements of each window counted before clipping to the image, padding included."""
        lengths = []
        for size, k, s, p, out in zip(x.shape[2:], self._kernel, self._stride, self._pad, self._out):
            start = torch.arange(out, device=x.device) * s - p
            lengths.append((start + k).clamp(max=size + p) - start)
        return torch.outer(lengths[0], lengths[1]).to(x.dtype)


def _collected(shares: torch.Tensor, index: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """What the windows' elements got, added up in the shape of ``x``.

    shares, index   (N or 1, C or 1, out H, out W, elements), as of ``_windows``; elements may be 1 in shares
    """
    n, c, h, w = x.shape
    shares = torch.where(index >= 0, shares, 0.0)
    dx = torch.zeros(n, c, h * w, device=x.device)
    dx.scatter_add_(2, index.clamp(min=0).expand_as(shares).reshape(n, c, -1), shares.reshape(n, c, -1))
    return dx.view(n, c, h, w)
