"""Convolutions of small images on the CPU: one matrix product an image, without oneDNN.

Preparing oneDNN's kernels takes longer than a small convolution itself. torch has the plain way too, and
takes it by itself for some shapes: an image's patches in a matrix, times the weights, as BVLC Caffe does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

MOST = 128 * 1024  # values of the patches, of all images: about where oneDNN becomes as fast (measured)


def pays(kernel: Sequence[int], patch_values: int) -> bool:
    """For two axes, one group and no dilation. Kernels of 1 x 1 need no patches in oneDNN."""
    return max(kernel) > 1 and 0 < patch_values <= MOST


def convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
) -> torch.Tensor:
    """The convolution, contiguous."""
    return torch.ops.aten.thnn_conv2d(x.contiguous(), weight, kernel, bias, stride, pad)


def gradients(
    dy: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    wanted: Sequence[bool],
) -> tuple[torch.Tensor, ...]:
    """Of the data, the weights and the bias, each where it is wanted."""
    backward = torch.ops.aten._slow_conv2d_backward.output_mask
    return backward(dy.contiguous(), x.contiguous(), weight, kernel, stride, pad, wanted)
