"""Convolution over any number of spatial axes, made of torch's, which ends at three."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

_TORCH = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> torch.Tensor:
    """Cross-correlation of ``x`` (N, C, spatial...) with ``weight`` (outputs, C / group, kernel...).

    ``stride``, ``pad`` and ``dilation`` have one value a spatial axis. More than three axes: a sum over the
    first axis' kernel of convolutions over the others. None: a product at each place.
    """
    axes = len(stride)
    if axes == 0:
        return F.conv1d(x.unsqueeze(2), weight.unsqueeze(2), groups=group).squeeze(2)
    if axes in _TORCH:
        return _TORCH[axes](x, weight, None, stride, pad, dilation, group)
    x = F.pad(x, [0, 0] * (axes - 1) + [pad[0], pad[0]])
    kernel = weight.shape[2]
    out = (x.shape[2] - dilation[0] * (kernel - 1) - 1) // stride[0] + 1
    total: torch.Tensor | None = None
    for tap in range(kernel):
        start = tap * dilation[0]
        rows = x[:, :, start : start + (out - 1) * stride[0] + 1 : stride[0]].transpose(1, 2)
        part = convolve(rows.flatten(0, 1), weight[:, :, tap], stride[1:], pad[1:], dilation[1:], group)
        total = part if total is None else total + part
    assert total is not None
    return total.unflatten(0, (x.shape[0], out)).transpose(1, 2)


def gradients(
    x: torch.Tensor,
    weight: torch.Tensor,
    dy: torch.Tensor,
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int], int],
) -> tuple[torch.Tensor, torch.Tensor]:
    """What ``dy`` at the output of ``convolve(x, weight, *geometry)`` is at x and at the weights."""
    with torch.enable_grad():
        x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
        dx, dw = torch.autograd.grad(convolve(x, weight, *geometry), (x, weight), dy)
    return dx, dw
