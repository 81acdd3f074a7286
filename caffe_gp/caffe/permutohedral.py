"""The permutohedral lattice of ``caffe_gp.crf`` in torch, for GPUs: the same steps on tensors.

On a CPU the compiled lattice of ``caffe_gp.crf.lattice`` is many times faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from caffe_gp.crf.kernels import Kernel


class TensorPermutohedral:
    """The lattice of one set of points, on their device; see ``caffe_gp.crf.kernels.Lattice``.

    features   (n, d) float32. ValueError if they are not finite or lie so far apart that a lattice point
               cannot be numbered in 62 bits.
    """

    def __init__(self, features: torch.Tensor) -> None:
        if features.dim() != 2 or features.shape[1] < 1:
            raise ValueError(f"features have shape (n, d) with d >= 1, found {tuple(features.shape)}")
        if not bool(torch.isfinite(features).all()):
            raise ValueError("features must be finite")
        self.points, self.dimensions = features.shape
        keys, self.weight = _embed(features)
        numbering = _Numbering(keys)
        found, self._vertex = torch.unique(numbering.of(keys), return_inverse=True)
        self.vertices = len(found)
        self._neighbours = [
            (self._look_up(found, numbering.step(axis)), self._look_up(found, -numbering.step(axis)))
            for axis in range(self.dimensions + 1)
        ]

    def _look_up(self, found: torch.Tensor, step: int) -> torch.Tensor:
        """Vertices a step away; ``vertices``, a row of zeros, for those that no point touches."""
        wanted = found + step
        at = torch.searchsorted(found, wanted).clamp_(max=self.vertices - 1)
        return torch.where(found[at] == wanted, at, self.vertices)

    def splat(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        rows = values.new_zeros((self.vertices + 1, values.shape[1]))
        for corner in range(self.dimensions + 1):
            rows.index_add_(0, self._vertex[:, corner], values * weight[:, corner, None])
        return rows

    def blur(self, rows: torch.Tensor, reverse: bool = False) -> torch.Tensor:
        for before, behind in reversed(self._neighbours) if reverse else self._neighbours:
            blurred = rows.clone()
            blurred[:-1] += 0.5 * (rows[before] + rows[behind])
            rows = blurred
        return rows

    def mix(self, rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        return rows @ matrix

    def slice(self, rows: torch.Tensor, weight: torch.Tensor, onto: torch.Tensor) -> torch.Tensor:
        for corner in range(self.dimensions + 1):
            onto.addcmul_(weight[:, corner, None], rows[self._vertex[:, corner]])
        return onto

    def sums(self) -> torch.Tensor:
        return self.filter(self.weight.new_ones((self.points, 1)))

    def filter(self, values: torch.Tensor) -> torch.Tensor:
        """(n, C) -> (n, C)."""
        rows = self.blur(self.splat(values, self.weight))
        return self.slice(rows, self.weight, torch.zeros_like(values))

    def adjoint(self, values: torch.Tensor) -> torch.Tensor:
        """The transpose of ``filter``."""
        rows = self.blur(self.splat(values, self.weight), reverse=True)
        return self.slice(rows, self.weight, torch.zeros_like(values))


class _Numbering:
    """Lattice points as integers, one to one, that neighbours' steps add to."""

    def __init__(self, keys: torch.Tensor) -> None:
        d = keys.shape[-1]
        flat = keys.reshape(-1, d)
        # Room for a neighbour's coordinates on both sides.
        self._low = flat.amin(0) - (d + 1)
        spans = (flat.amax(0) - self._low + (d + 2)).tolist()
        if math.prod(spans) >= 2**62:
            raise ValueError(f"features lie too far apart: lattice coordinates span {spans}")
        self._units = [math.prod(spans[j + 1 :]) for j in range(d)]

    def of(self, keys: torch.Tensor) -> torch.Tensor:
        units = torch.tensor(self._units, device=keys.device)
        return ((keys - self._low) * units).sum(-1)

    def step(self, axis: int) -> int:
        """The first d coordinates grow by 1, that of the axis by -d."""
        d = len(self._units)
        return sum(self._units) - ((d + 1) * self._units[axis] if axis < d else 0)


def _embed(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Corners of every point's simplex, (n, d + 1, d) int64, and its barycentric weights, (n, d + 1)."""
    n, d = features.shape
    total = features.new_zeros(n)
    elevated = features.new_empty((n, d + 1))
    for j in range(d, 0, -1):
        scaled = features[:, j - 1] * ((d + 1) * math.sqrt(2 / 3) / math.sqrt(j * (j + 1)))
        elevated[:, j] = total - j * scaled
        total = total + scaled
    elevated[:, 0] = total
    whole = torch.floor(elevated / (d + 1) + 0.5)
    nearest = whole * (d + 1)
    order = torch.sort(elevated - nearest, dim=1, descending=True, stable=True).indices
    rank = torch.argsort(order, dim=1) + whole.sum(1, keepdim=True).long()
    # Back onto the plane where coordinates sum to zero.
    wrap = (rank < 0).long() - (rank > d).long()
    rank += wrap * (d + 1)
    nearest += wrap * (d + 1)
    share = (elevated - nearest) / (d + 1)
    barycentric = features.new_zeros((n, d + 2))
    barycentric.scatter_add_(1, d - rank, share)
    barycentric.scatter_add_(1, d + 1 - rank, -share)
    barycentric[:, 0] += 1 + barycentric[:, d + 1]
    corner = torch.arange(d + 1, device=features.device)[None, :, None]
    rank, base = rank[:, None, :d], nearest[:, None, :d].long()
    keys = base + torch.where(rank <= d - corner, corner, corner - (d + 1))
    return keys, barycentric[:, : d + 1].contiguous()


class TensorRows:
    """``caffe_gp.crf.rows.Rows`` of tensors on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def array(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, device=self.device)

    def numpy(self, values: torch.Tensor) -> np.ndarray:
        return values.cpu().numpy()

    def spatial_kernel(
        self, height: int, width: int, deviation: float, normalization: str = "after"
    ) -> Kernel:
        return Kernel(TensorPermutohedral(self._places(height, width) / deviation), normalization)

    def bilateral_kernel(
        self, image: torch.Tensor, deviation: float, colour_deviation: float, normalization: str = "after"
    ) -> Kernel:
        channels, height, width = image.shape
        colours = image.reshape(channels, -1).t() / colour_deviation
        features = torch.cat([self._places(height, width) / deviation, colours], dim=1)
        return Kernel(TensorPermutohedral(features), normalization)

    def _places(self, height: int, width: int) -> torch.Tensor:
        """x and y of every pixel, row by row."""
        y, x = torch.meshgrid(
            torch.arange(height, dtype=torch.float32, device=self.device),
            torch.arange(width, dtype=torch.float32, device=self.device),
            indexing="ij",
        )
        return torch.stack([x.flatten(), y.flatten()], dim=1)

    def rows(self, maps: torch.Tensor) -> torch.Tensor:
        """(L, H, W) -> (H * W, L)."""
        return maps.flatten(1).t().contiguous()

    def maps(self, rows: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        return rows.t().reshape(tuple(shape))

    def stack(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(maps))

    def matrix(self, matrix: torch.Tensor) -> torch.Tensor:
        """(L, L) as it is."""
        return matrix.contiguous()

    def empty_like(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(rows)

    def copy(self, rows: torch.Tensor, into: torch.Tensor) -> None:
        into.copy_(rows)

    def softmax(self, rows: torch.Tensor, classes: int, into: torch.Tensor) -> None:
        """All columns are classes here."""
        torch.softmax(rows, dim=1, out=into)

    def softmax_backward(self, probabilities: torch.Tensor, diff: torch.Tensor) -> None:
        diff.sub_((probabilities * diff).sum(1, keepdim=True)).mul_(probabilities)

    def outer(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a.t() @ b
