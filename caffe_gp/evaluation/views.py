"""Several views of one image, labelled by the mean of their probabilities: test-time augmentation.

    view_named("flip"), view_named("0.75")      # mirrored; at another scale

A view is made of the photograph, goes through the net (and the perturbation) on its own, and its
probabilities are laid back over the image. It is probabilities that are averaged, as DeepLab does it
(arXiv 1706.05587).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, Sequence

import numpy as np
from PIL import Image

from caffe_gp.errors import NetError, UsageError
from caffe_gp.gp.perturb import Watch
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.images.placing import Placing, bilinear, place_labels, place_maps
from caffe_gp.images.preprocess import Canvas, Preprocess

FLIP = "flip"
_LEAST, _MOST = 0.1, 4.0  # scales


class View(Protocol):
    """One way to look at an image besides the plain one."""

    def canvas(self, canvas: Canvas, preprocess: Preprocess, fixed: bool) -> Canvas:
        """The view of an image; ``fixed``: the net takes canvases of one size only."""

    def truth(self, truth: np.ndarray) -> np.ndarray:
        """Ground truth (h, w) of the image as the view has it."""

    def back(self, maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Maps (C, h, w) of the view laid over the image of ``size`` (height, width): (C, height, width)."""


@dataclass(frozen=True)
class Flipped:
    """Mirrored, left to right."""

    def canvas(self, canvas: Canvas, preprocess: Preprocess, fixed: bool) -> Canvas:
        return preprocess.canvas(Image.fromarray(canvas.image[:, ::-1, ::-1].copy()), "the mirrored image")

    def truth(self, truth: np.ndarray) -> np.ndarray:
        return truth[:, ::-1]

    def back(self, maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return maps[:, :, ::-1]


@dataclass(frozen=True)
class Scaled:
    """Smaller or larger than the image lies on its canvas, by ``factor``.

    On a canvas of its own size; where the net or ``pad_to`` fixes that, padded with the mean colour.
    """

    factor: float

    def canvas(self, canvas: Canvas, preprocess: Preprocess, fixed: bool) -> Canvas:
        height, width = (max(1, round(side * self.factor)) for side in canvas.valid)
        pad_to = canvas.data.shape[2:0:-1] if fixed or preprocess.pad_to else None
        scaled = replace(preprocess, resize=(width, height), pad_to=pad_to)
        picture = Image.fromarray(canvas.image[:, :, ::-1].copy())
        return scaled.canvas(picture, f"the image at scale {self.factor:g}")

    def truth(self, truth: np.ndarray) -> np.ndarray:
        return truth

    def back(self, maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return bilinear(maps, size)


def view_named(name: str) -> View:
    """'flip', or a scale like '0.75'. UsageError for others."""
    if name == FLIP:
        return Flipped()
    try:
        factor = float(name)
    except ValueError:
        factor = 0.0
    if not _LEAST <= factor <= _MOST or factor == 1:
        raise UsageError(
            f"average: a view is '{FLIP}' or a scale of {_LEAST:g} to {_MOST:g} other than 1, found '{name}'"
        )
    return Scaled(factor)


def views_named(names: Sequence[str]) -> list[View]:
    """Those of some names. UsageError for one that is none, and for one that is given twice."""
    found = [view_named(name) for name in names]
    if len(set(found)) < len(found):
        raise UsageError(f"average: every view once, found {' '.join(names)}")
    return found


class MeanOfViews:
    """Sums the probabilities of several views on the pixels of the plain one's canvas.

    means   after all views: for base and every eps (N, C, H, W) of the canvas, or (N, C) of nets that label
            whole images
    """

    def __init__(self, canvases: Sequence[Canvas], placing: Placing) -> None:
        """canvases: the plain ones; placing: where scores lie on a canvas."""
        self._canvases, self._placing = canvases, placing
        self._sums: list[np.ndarray] = []
        self._views = 0

    def plain(self) -> Watch:
        """What watches the passes of the image itself: first of all."""
        self._views = 1

        def watch(k: int, y: np.ndarray) -> None:
            self._sums.append(
                np.array(y) if y.ndim != 4 else np.stack([*map(self._placed, y, self._canvases)])
            )

        return watch

    def of(self, view: View, canvases: Sequence[Canvas]) -> Watch:
        """What watches the passes of a view."""
        self._views += 1

        def watch(k: int, y: np.ndarray) -> None:
            if y.ndim != 4:
                self._sums[k] += y
                return
            for total, one, canvas, own in zip(self._sums[k], y, canvases, self._canvases):
                (height, width), (rows, columns) = canvas.valid, own.valid
                maps = self._placed(one, canvas)[:, :height, :width]
                total[:, :rows, :columns] += view.back(maps, own.valid)

        return watch

    def means(self) -> list[np.ndarray]:
        """See the class."""
        for total in self._sums:
            total /= self._views
        return self._sums

    def _placed(self, y: np.ndarray, canvas: Canvas) -> np.ndarray:
        shape, (height, width) = canvas.data.shape[1:], canvas.valid
        labelled = place_labels(np.zeros(y.shape[1:], np.uint8), shape, self._placing)[:height, :width]
        if (labelled == IGNORE).any():
            raise NetError(
                "average: the net's scores do not reach the borders of its input, so views cannot be laid "
                "over each other there"
            )
        return np.array(place_maps(y, shape, self._placing))


def check_views(names: Any) -> None:
    """UsageError for names that are no sequence of views."""
    if isinstance(names, str):
        raise UsageError(f"average is a sequence of views, like ('{FLIP}',), found {names!r}")
    views_named(names)
