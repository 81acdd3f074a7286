"""The pictures and arrays that a run over image files writes; docs/results_schema.md lists them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp.errors import DataError
from caffe_gp.evaluation.image_panel import Seen, panel
from caffe_gp.files.atomic import write_bytes
from caffe_gp.files.below import is_below
from caffe_gp.files.npy import read_npz
from caffe_gp.files.regular import MAX_BLOB_BYTES
from caffe_gp.gp import GPResult
from caffe_gp.images.label_maps import save_label_png
from caffe_gp.images.preprocess import Canvas
from caffe_gp.report import pictures
from caffe_gp.runs.task import Record

# Where files go whose image is no longer in the run, or is another one now.
LEFT_OUT = "left_out"

SAVE_CHOICES = ("labels", "overlay", "changed", "perturbation", "probabilities", "panel")
_AGAIN = "remove it, and the command that began the run computes it again"
_KINDS = {(kind,) for kind in SAVE_CHOICES}


class ImageWriter:
    """Writes one image's files; every file appears only when it is whole."""

    def __init__(
        self, folder: Path, save: Sequence[str], palette: np.ndarray | None, names: Sequence[str] | None
    ) -> None:
        """``save``: any of SAVE_CHOICES; palette: see ``images.inputs.read_palette``; names: the classes'."""
        self.folder, self.save, self.palette, self.names = folder, save, palette, names

    def write(
        self,
        name: str,
        canvas: Canvas,
        truth: np.ndarray | None,
        maps: Sequence[np.ndarray],
        behind_crf: Sequence[np.ndarray],
        result: GPResult,
        i: int,
    ) -> list[str]:
        """Write the files of image ``i`` of a result; returns their names, relative to the folder.

        maps: label maps in the image's own pixels, base first (or single numbers for a class); behind_crf:
        the same behind a CRF, or nothing; truth: the ground truth in the same pixels, or None.
        """
        files: list[str] = []
        variants = ["base", *(f"eps_{eps:g}" for eps in result.eps)]
        if maps[0].ndim == 2:
            self._label_maps(files, name, canvas, truth, dict(zip(variants, maps)))
            crf_variants = dict(zip((f"{variant}_crf" for variant in variants), behind_crf))
            self._label_maps(files, name, canvas, truth, crf_variants)
            if "panel" in self.save:
                path = self._name(files, "panel", f"{name}.png")
                seen = Seen(canvas.image, truth, maps[0], maps[1:], result.eps, _at_input(canvas, result, i))
                pictures.save_png(path, panel(seen, self.names, self.palette))
        if "perturbation" in self.save:
            signs = {variant: signs[i] for variant, signs in zip(variants[1:], result.perturbation)}
            _save_arrays(self._name(files, "perturbation", f"{name}.npz"), signs)
        if "probabilities" in self.save:
            assert result.base_probabilities is not None and result.probabilities is not None
            every = [result.base_probabilities, *result.probabilities]
            arrays = {variant: _without_padding(y[i], canvas) for variant, y in zip(variants, every)}
            _save_arrays(self._name(files, "probabilities", f"{name}.npz"), arrays)
        return files

    def _label_maps(
        self,
        files: list[str],
        name: str,
        canvas: Canvas,
        truth: np.ndarray | None,
        maps: dict[str, np.ndarray],
    ) -> None:
        """Label maps by variant, base first: as indices, painted over the image, and where they changed."""
        base = next(iter(maps.values()), None)
        for variant, labels in maps.items():
            if "labels" in self.save:
                path = self._name(files, "labels", variant, f"{name}.png")
                save_label_png(path, labels, self.palette)
            if "overlay" in self.save:
                path = self._name(files, "overlay", variant, f"{name}.png")
                pictures.save_png(path, pictures.overlay(canvas.image, labels, self.palette))
            if "changed" in self.save and labels is not base and base is not None:
                path = self._name(files, "changed", variant, f"{name}.png")
                changes = pictures.Changes.of(base, labels, truth)
                pictures.save_png(path, pictures.changed(canvas.image, changes))

    def _name(self, files: list[str], *parts: str) -> Path:
        files.append("/".join(parts))
        path = self.folder / files[-1]
        if not is_below(path, self.folder):
            raise DataError(
                f"{path}: leads out of the folder {self.folder} (a link, or '..'): nothing is written"
            )
        return path


def _at_input(canvas: Canvas, result: GPResult, i: int) -> np.ndarray | None:
    """The signs (C, h, w) of image ``i`` that were added at a positive eps; None of anything but pixels."""
    signs = result.perturbation[0]
    if signs.shape[1] not in (1, 3) or signs.shape[2:] != canvas.data.shape[1:]:
        return None
    height, width = canvas.valid
    return signs[i][:, :height, :width] * np.sign(result.eps[0])


def set_aside(folder: Path, written: Sequence[Record], latest: Mapping[str, Record]) -> int:
    """Move files that show no image of this run from beside those that do; returns how many.

    written   every record of the run's folder; latest: the one that holds of every image of the run
    Only files that the run itself wrote, by its records, are touched.
    """
    kept = {name for record in latest.values() for name in record.get("files", ())}
    moved = 0
    for record in written:
        now = latest.get(record["item"])
        if now is not None and all(now[name] == record[name] for name in ("image_sha256", "truth_sha256")):
            continue
        for name in set(record.get("files", ())) - kept:
            if _is_picture(folder, name) and (folder / name).is_file():
                (folder / LEFT_OUT / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(folder / name, folder / LEFT_OUT / name)
                moved += 1
    return moved


def _is_picture(folder: Path, name: str) -> bool:
    """Whether a record's file is one that a run writes, in its folder, and may be moved to LEFT_OUT."""
    places = (folder / name, folder / LEFT_OUT / name)
    return Path(name).parts[:1] in _KINDS and all(is_below(place, folder) for place in places)


def _without_padding(y: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Class maps (C, H, W) cut to the image if they have the canvas' size; others as they are."""
    height, width = canvas.valid
    return y[:, :height, :width] if y.shape[1:] == canvas.data.shape[1:] else y


def read_signs(path: Path, variant: str) -> np.ndarray:
    """(C, H, W) int8: a perturbation that was saved, at 'eps_0.5'. DataError for a file that is not one."""
    try:
        signs = read_npz(path, variant, MAX_BLOB_BYTES)
    except DataError as error:
        raise DataError(f"{error}; {_AGAIN}") from None
    if signs.ndim != 3 or signs.dtype != np.int8:
        raise DataError(f"{path}: expected signs (C, H, W) int8, found {signs.shape} {signs.dtype}; {_AGAIN}")
    return signs


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())
