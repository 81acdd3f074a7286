"""What a run over image files is given: files, folders, lists, palettes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Sequence

import numpy as np
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.images.reading import IMAGE_SUFFIXES, image_size


@dataclass(frozen=True)
class ImageFiles:
    """Image files by name, with label maps if there are any: ``evaluation.labelled_images.LabelledImages``.

    ids     names, the files' without folder and suffix; results are named after them
    paths   the files, in the same order
    labels  folder of the label maps, NAME.png
    """

    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: Path | None = None
    name: str = "image files"
    classes: tuple[str, ...] = ()
    background_counts: bool = True

    @classmethod
    def of(cls, paths: Sequence[str], labels: str | None = None) -> ImageFiles:
        """The files at ``paths``. DataError for names that repeat, broken files and missing label maps."""
        seen: dict[str, str] = {}
        for path in paths:
            name = Path(path).stem
            if name in seen:
                raise DataError(
                    f"{path} and {seen[name]}: results are named after the image, so names must differ"
                )
            seen[name] = path
            image_size(path)  # a missing or broken file is reported now, not after an hour
            if labels is not None and not (Path(labels) / f"{name}.png").is_file():
                raise DataError(f"{Path(labels) / name}.png: no label map for image {path}")
        folder = None if labels is None else Path(labels)
        return cls(tuple(seen), tuple(map(Path, seen.values())), folder)

    @property
    def has_truth(self) -> bool:
        """Whether there are label maps."""
        return self.labels is not None

    def image(self, item: str) -> Path:
        """The image file of a name."""
        return self._path_of[item]

    @cached_property
    def _path_of(self) -> dict[str, Path]:
        return dict(zip(self.ids, self.paths))

    def label_file(self, item: str) -> Path | None:
        """The label file of a name; None without label maps."""
        return None if self.labels is None else self.labels / f"{item}.png"

    def truth(self, item: str, classes: int | None = None) -> np.ndarray:
        """Ground truth (H, W) uint8, 0..classes-1 or 255; DataError if it is no label map of its image."""
        path = self.label_file(item)
        if path is None:
            raise DataError(f"{self.image(item)}: there are no label maps")
        labels, (width, height) = read_label_png(path, classes), image_size(self.image(item))
        if labels.shape != (height, width):
            found = f"{labels.shape[1]} x {labels.shape[0]}"
            raise DataError(f"{path}: labels of {found} for an image of {width} x {height}")
        return labels

    def absolute(self) -> ImageFiles:
        """The same with absolute paths, for processes with another current folder."""
        labels = None if self.labels is None else self.labels.resolve()
        return replace(self, paths=tuple(path.resolve() for path in self.paths), labels=labels)

    def describe(self) -> dict[str, Any]:
        """What a result says about its images."""
        labels = None if self.labels is None else str(self.labels)
        return {"name": self.name, "images": len(self.ids), "labels": labels}


def find_images(sources: Sequence[str]) -> list[str]:
    """Image files from a mixture of image files, folders and lists (text files, one path a line)."""
    found: list[str] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise DataError(f"{source}: no images in this folder ({', '.join(IMAGE_SUFFIXES)})")
            found += [str(p) for p in inside]
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            found.append(str(path))
        elif path.is_file():
            found += _read_list(path)
        else:
            raise DataError(f"{source}: no such image, folder or list")
    if not found:
        raise DataError(f"no images in {', '.join(sources) or 'an empty list'}")
    return found


def read_ids(path: str) -> list[str]:
    """Image ids of a text file, one a line; DataError if it is none."""
    try:
        return Path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable list of ids ({error})") from None


def read_array(path: str) -> np.ndarray:
    """The numbers of a .npy file; DataError if it holds none. No code that a file holds is run."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npy file ({error})") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
        raise DataError(f"{path}: a .npy file of numbers was expected, found {type(values).__name__}")
    return values


def _read_list(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        raise DataError(
            f"{path}: neither an image ({', '.join(IMAGE_SUFFIXES)}) nor a text list of images"
        ) from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        beside = path.parent / line
        if Path(line).is_file():
            found.append(line)
        elif beside.is_file():
            found.append(str(beside))
        else:
            raise DataError(f"{path}, line {number}: no such image: {line} (nor beside the list)")
    return found


def read_palette(path: str) -> np.ndarray:
    """Colours of labels 0, 1, ...: (n, 3) uint8 RGB, from an indexed PNG or a text file of 'R G B' lines."""
    if path.lower().endswith(".png"):
        try:
            with Image.open(path) as picture:
                colours = picture.getpalette() if picture.mode == "P" else None
        except OSError as error:
            raise DataError(f"{path}: not a readable palette ({error})") from None
        if colours is None:
            raise DataError(f"{path}: a palette comes from an indexed PNG (mode P)")
        return np.asarray(colours, dtype=np.uint8).reshape(-1, 3)
    try:
        rows = np.loadtxt(path, dtype=np.int64, ndmin=2, comments="#")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: a palette is a text file with 'R G B' (0..255) on each line ({error})"
        ) from None
    if rows.ndim != 2 or rows.shape[1] != 3 or not 0 < len(rows) <= 256 or rows.min() < 0 or rows.max() > 255:
        raise DataError(
            f"{path}: a palette has up to 256 lines of three numbers 0..255, found shape {rows.shape}"
        )
    return rows.astype(np.uint8)
