"""Layers of Caffe that are no single module of PyTorch, in PyTorch alone.

An exported file holds the source of those that it needs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class Scale(nn.Module):
    """x * weight + bias, of a shape that is repeated over the axes where it is 1."""

    def __init__(self, shape: Any, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * self.weight
        return y if self.bias is None else y + self.bias


class Bias(nn.Module):
    """x + bias, of a shape that is repeated over the axes where it is 1."""

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.bias


class Constant(nn.Module):
    """A blob that does not depend on the input."""

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))

    def forward(self) -> torch.Tensor:
        return self.value


class WithinChannelLRN(nn.Module):
    """x (1 + alpha mean x^2)^-beta over a square window, whose mean counts the padding."""

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = F.avg_pool2d(x * x, self.size, 1, self.size // 2)
        return x * (1 + self.alpha * mean).pow(-self.beta)


class MVN(nn.Module):
    """Subtract the mean over the axes, divide by the standard deviation plus eps."""

    def __init__(self, axes: Any, variance: bool, eps: float) -> None:
        super().__init__()
        self.axes, self.variance, self.eps = axes, variance, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x - x.mean(self.axes, keepdim=True)
        if self.variance:
            y = y / ((y * y).mean(self.axes, keepdim=True).sqrt() + self.eps)
        return y


class BatchStatistics(nn.Module):
    """Normalise each channel by the mean and variance that it has in this batch."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = [0, *range(2, x.dim())]
        y = x - x.mean(axes, keepdim=True)
        return y / ((y * y).mean(axes, keepdim=True) + self.eps).sqrt()


class MaxPoolWithMask(nn.MaxPool2d):
    """Maxima, and where in its plane each was: y * W + x."""

    def __init__(self, kernel: Any, stride: Any, padding: Any = 0, ceil_mode: bool = False) -> None:
        super().__init__(kernel, stride, padding, return_indices=True, ceil_mode=ceil_mode)

    def forward(self, x: torch.Tensor) -> Any:
        y, places = super().forward(x)
        return y, places.to(x.dtype)


class Unpool(nn.Module):
    """Values at the places of a mask, zeros elsewhere; ``size``, or scale times the input less pad_out."""

    def __init__(self, size: Any, scale: Any, pad_out: Any) -> None:
        super().__init__()
        self.size, self.scale, self.pad_out = size, scale, pad_out

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.size is not None:
            height, width = self.size
        else:
            height = x.shape[2] * self.scale[0] - self.pad_out[0]
            width = x.shape[3] * self.scale[1] - self.pad_out[1]
        planes = x.new_zeros(x.shape[0], x.shape[1], height * width)
        y = planes.scatter(2, mask.flatten(2).long(), x.flatten(2))
        return y.reshape(x.shape[0], x.shape[1], height, width)


class Interp(nn.Module):
    """DeepLab's bilinear resize with aligned corners: crop, shrink, zoom; or to a size."""

    def __init__(self, size: Any, shrink: Any, zoom: Any, crop: Any) -> None:
        super().__init__()
        self.size, self.shrink, self.zoom, self.crop = size, shrink, zoom, crop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        begin, end = self.crop
        if begin or end:
            x = x[:, :, begin : x.shape[2] - end, begin : x.shape[3] - end]
        size = self.size or (self.scaled(x.shape[2]), self.scaled(x.shape[3]))
        return F.interpolate(x, size, mode="bilinear", align_corners=True)

    def scaled(self, n: Any) -> Any:
        if self.shrink is not None:
            n = (n - 1) // self.shrink + 1
        if self.zoom is not None:
            n = n + (n - 1) * (self.zoom - 1)
        return n


class Normalize(nn.Module):
    """weight x / n, where n is the root of eps plus the sum of squares over the axes."""

    def __init__(self, shape: Any, axes: Any, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))
        self.axes, self.eps = axes, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / ((x * x).sum(self.axes, keepdim=True) + self.eps).sqrt() * self.weight


class ShuffleChannel(nn.Module):
    """Of C channels in g groups, channel i of group j becomes channel i g + j."""

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(1, (self.group, -1)).transpose(1, 2).flatten(1, 2)


class Reorg(nn.Module):
    """Blocks of pixels to channels in darknet's order; ``reverse``: channels to blocks."""

    def __init__(self, stride: int, reverse: bool) -> None:
        super().__init__()
        self.stride, self.reverse = stride, reverse

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.stride
        n, c, height, width = x.shape
        if self.reverse:
            y = x.reshape(n, s, s, c // s**2, height, width).permute(0, 3, 4, 1, 5, 2)
            return y.reshape(n, c // s**2, height * s, width * s)
        y = x.reshape(n, c // s**2, height, s, width, s).permute(0, 3, 5, 1, 2, 4)
        return y.reshape(n, c * s**2, height // s, width // s)
