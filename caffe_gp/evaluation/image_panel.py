"""One image before and after guided perturbations, as a panel: what ``caffe_gp run`` leaves of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np

from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.report import panels, pictures
from caffe_gp.report.colours import KINDS, VOID, Kind
from caffe_gp.report.panels import Cell
from caffe_gp.report.pictures import Changes, Size

_COLUMNS = 4


@dataclass
class Seen:
    """An image and what a net made of it.

    image   (H, W, 3) uint8 BGR; truth, base: (H, W) labels, truth None where there is none
    after   (H, W) labels at every eps
    added   (C, h, w) the input's perturbation, or None where another blob was perturbed
    """

    image: np.ndarray
    truth: np.ndarray | None
    base: np.ndarray
    after: Sequence[np.ndarray]
    eps: Sequence[float]
    added: np.ndarray | None = None


def panel(
    seen: Seen,
    names: Sequence[str] | None = None,
    palette: np.ndarray | None = None,
    width: int = panels.WIDTH,
) -> np.ndarray:
    """Image, ground truth, base; then for every eps GP, what changed, and its largest region enlarged.

    names, palette   of the classes (default: numbers, VOC's colours)
    Returns a picture (h, w, 3) uint8 BGR at most ``width`` pixels wide. Under its labels stand the mean IU of
    this image over the classes that occur in it, and how many pixels changed.
    """
    image, truth, base = seen.image, seen.truth, seen.base
    size = pictures.display_size(image.shape, max(panels.cell_size(image.shape, _COLUMNS, width)))

    def painted(labels: np.ndarray) -> np.ndarray:
        return pictures.overlay(image, labels, palette, size)

    head = [Cell("Image", pictures.resize(image, size))]
    if truth is not None:
        head.append(Cell("Ground truth", painted(truth)))
    score = None if truth is None else _mean_iu(truth, base)
    head.append(Cell("Base" + _score_text(score), painted(base)))
    if seen.added is not None:
        small = pictures.resize(pictures.amplify(seen.added), pictures.display_size(size, max(size) // 2))
        head.append(Cell("Perturbation\namplified", small, share=0.5))
    rows = [head]
    kinds: set[Kind] = set()
    for eps, labels in zip(seen.eps, seen.after):
        changes = Changes.of(base, labels, truth)
        kinds.update(kind for kind, mask in changes.kinds() if mask.any())
        after = None if truth is None else _mean_iu(truth, labels)
        window = pictures.largest_region(changes.any)
        row = [
            Cell(f"GP, eps {eps:g}" + _score_text(after, score), painted(labels)),
            Cell("Changed\n" + _changed_text(changes), pictures.changed(image, changes, size)),
        ]
        if window is not None:
            row[1].window = _scaled(window, image.shape, size)
            for title, one in (("base", base), ("GP", labels)):
                part, labels_of_part = image[window], one[window]
                enlarged = panels.cell_size(part.shape, _COLUMNS, width)  # its lines are drawn after that
                zoom = pictures.overlay(part, labels_of_part, palette, enlarged)
                row.append(Cell(f"Largest change: {title}", zoom))
        rows.append(row)
    maps = [base, *seen.after, *([] if truth is None else [truth])]
    legend = pictures.legend_of(maps, names, palette)
    return panels.grid(rows, [*legend, *(kind for kind in KINDS if kind in kinds)], _COLUMNS, width)


def _scaled(window: tuple[slice, slice], shape: Sequence[int], size: Size) -> tuple[slice, slice]:
    """A window of the image in a picture of another size."""
    rows, columns = (
        slice(part.start * new // old, -(-part.stop * new // old))
        for part, old, new in zip(window, shape, size)
    )
    return rows, columns


def _changed_text(changes: Changes) -> str:
    return ", ".join(kind.name for kind in changes.legend() if kind is not VOID)


def _score_text(score: float | None, before: float | None = None) -> str:
    """A second line of a title: 'mean IU 63.2 (+2.1)'."""
    if score is None:
        return ""
    gain = "" if before is None else f" ({100 * (score - before):+.1f})"
    return f"\nmean IU {100 * score:.1f}{gain}"


def _mean_iu(truth: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean IU of one image over the classes that occur in its ground truth or labels; None if all is void."""
    counted = np.where(labels == IGNORE, IGNORE, truth)
    matrix = ConfusionMatrix(IGNORE).update(counted, np.where(labels == IGNORE, 0, labels))
    return matrix.mean_iu if matrix.matrix.any() else None
