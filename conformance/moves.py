"""Moves numbers by a rounding error's size, as another program or another processor may.

Where an input of ReLU lies within rounding of zero, or two inputs of a MAX tie, two programs that compute the
same differ visibly, and so does one program on two processors. What changes under such a move says nothing
about the engines, so it is not recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np

from caffe_gp import engines

# Part of a number's size by which it moves.
SIZE = 1e-7
# Numbers that are moved at a time: a whole net has a hundred million.
BLOCK = 1 << 20


class Mover:
    """Moves each number by ``size`` times its size, up or down at random.

    Each by itself: equal numbers that were computed apart, as they are all over a padded border, become
    different. Whole numbers stay: labels, zeros, marks, what ties on purpose.
    """

    def __init__(self, random: np.random.RandomState, size: float = SIZE) -> None:
        self.random, self.size = random, size

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """A moved copy, float32."""
        moved = np.array(array, np.float32)
        flat = moved.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            part = flat[start : start + BLOCK]
            with np.errstate(invalid="ignore"):
                whole = ~np.isfinite(part) | (part == np.rint(part))
            up = self.random.randint(0, 2, part.size, dtype=bool)
            factor = np.where(up, 1 + self.size, 1 - self.size)
            part[...] = np.where(whole, part, part * np.where(whole, 1, factor))
        return moved

    def move_params(self, net: Any) -> None:
        """Move every parameter of a net once."""
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] = self(blob.data)

    def write_moved(
        self, path: str | Path, prototxt: str | Path, caffemodel: str | Path, engine: str
    ) -> None:
        """Write a caffemodel with its numbers moved once, for programs that read files."""
        caffe = engines.load_caffe(engine)
        net = caffe.Net(str(prototxt), str(caffemodel), caffe.TEST)
        self.move_params(net)
        net.save(str(path))

    def follow(self, net: Any) -> None:
        """From now on, move what each layer computes; numbers that it only copies stay."""
        names, tops, bottoms = list(net._layer_names), net.top_names, net.bottom_names
        params = net.params

        def move_tops(index: int) -> None:
            inputs = [net.blobs[bottom].data.ravel() for bottom in bottoms[names[index]]]
            weights = [blob.data for blob in params.get(names[index], ())]
            known = [blob for blob in weights if blob.ndim == 1]
            if len(known) == len(weights):
                known += inputs
            # Else the layer multiplies by a matrix and copies nothing but its bias.
            for top in tops[names[index]]:
                data = net.blobs[top].data
                # In place, moving would move the input of the layer's own backward pass.
                if not any(np.may_share_memory(data, array) for array in inputs):
                    data[...] = np.where(_occurs(data, known), data, self(data))

        net.after_forward(move_tops)


def _occurs(numbers: np.ndarray, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Which of the numbers are in one of the arrays; np.isin takes twice as long."""
    nan = np.array([np.nan], np.float32)  # sorted to the end, and equal to nothing
    known = np.sort(np.concatenate([*arrays, nan]))
    return known[np.searchsorted(known, numbers).clip(max=known.size - 1)] == numbers
