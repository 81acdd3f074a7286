"""What a run over image files is given: files, folders, lists, palettes."""

from __future__ import annotations

import glob
import io
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from caffe_gp.errors import DataError
from caffe_gp.files.npy import read_npy
from caffe_gp.files.regular import MAX_BLOB_BYTES, open_regular, read_regular
from caffe_gp.images.label_maps import check_label_size, read_label_png
from caffe_gp.images.lists import Listed, NotTextError, read_image_list
from caffe_gp.images.reading import IMAGE_SUFFIXES, missing, opened

MAX_PALETTE_BYTES = 1 << 20  # 256 lines, and what is said about them

_READ = ", ".join(IMAGE_SUFFIXES)
# Images all the same, in formats that Pillow or the other engine's OpenCV cannot be relied on to read.
_OTHER_IMAGES = (
    ".avif", ".heic", ".heif", ".jp2", ".jxl", ".exr", ".hdr", ".psd", ".tga", ".svg", ".dcm", ".dng", ".cr2",
    ".nef", ".arw", ".pfm", ".pbm",
)  # fmt: skip


@dataclass(frozen=True)
class ImageFiles:
    """Image files by name, with label maps if there are any: ``evaluation.labelled_images.LabelledImages``.

    ids     names, the files' without folder and suffix; results are named after them
    paths   the files, in the same order
    labels  the label maps in the same order, or None
    """

    ids: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[Path, ...] | None = None
    name: str = "image files"
    classes: tuple[str, ...] = ()
    background_counts: bool = True

    @classmethod
    def of(cls, images: Sequence[Listed], labels: str | None = None) -> ImageFiles:
        """The files of ``find_images``, with the label maps NAME.png of a folder, or those of their lists.

        DataError for names that repeat, missing files, and label maps that are missing or named twice.
        """
        seen: dict[str, Listed] = {}
        for image in images:
            name = Path(image.image).stem
            if name in seen:
                raise DataError(
                    f"{image.image} and {seen[name].image}: results are named after the image, so names must "
                    "differ"
                )
            if not Path(image.image).is_file():
                raise missing(image.image, "image")
            seen[name] = image
        paths = tuple(Path(image.image) for image in images)
        listed = [image.labels for image in images if image.labels is not None]
        if labels is not None:
            if listed:
                raise DataError(f"the list names label maps ({listed[0]}): give the folder {labels} or these")
            return cls(tuple(seen), paths, tuple(_label_file(Path(labels), path) for path in paths))
        if listed and len(listed) < len(images):
            raise DataError(f"{len(images) - len(listed)} of {len(images)} images have no label map")
        return cls(tuple(seen), paths, tuple(map(Path, listed)) or None)

    def __repr__(self) -> str:
        return f"<ImageFiles: {len(self.ids)} images, {'with' if self.labels else 'without'} label maps>"

    @property
    def has_truth(self) -> bool:
        """Whether there are label maps."""
        return self.labels is not None

    def image(self, item: str) -> Path:
        """The image file of a name."""
        return self.paths[self._place_of[item]]

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {item: place for place, item in enumerate(self.ids)}

    def label_file(self, item: str) -> Path | None:
        """The label file of a name; None without label maps."""
        return None if self.labels is None else self.labels[self._place_of[item]]

    def truth(self, item: str, classes: int | None = None) -> np.ndarray:
        """Ground truth (H, W) uint8, 0..classes-1 or 255; DataError if it is no label map of its image."""
        path, image = self.label_file(item), self.image(item)
        if path is None:
            raise DataError(f"{image}: there are no label maps")
        labels = read_label_png(path, classes)
        check_label_size(path, labels.shape[::-1], image)
        return labels

    def absolute(self) -> ImageFiles:
        """The same with absolute paths, for processes with another current folder."""
        labels = None if self.labels is None else tuple(path.resolve() for path in self.labels)
        return replace(self, paths=tuple(path.resolve() for path in self.paths), labels=labels)

    def describe(self) -> dict[str, Any]:
        """What a result says about its images."""
        folders = {str(path.parent) for path in self.labels or ()}
        return {"name": self.name, "images": len(self.ids), "labels": ", ".join(sorted(folders)) or None}


def _label_file(folder: Path, image: Path) -> Path:
    """The label map of an image; DataError with what is there instead."""
    if not folder.is_dir():
        what = "a file, not a" if folder.exists() else "no such"
        raise DataError(f"{folder}: {what} folder of label maps (NAME.png for an image NAME.jpg)")
    for path in (folder / f"{image.stem}{suffix}" for suffix in (".png", ".PNG")):
        if path.is_file():
            return path
        if path.is_symlink():
            raise missing(path, "label map")
    others = sorted(path.name for path in folder.glob(f"{glob.escape(image.stem)}.*"))
    instead = f"; there is {', '.join(others)}, but label maps are PNG files of indices" if others else ""
    raise DataError(f"{folder / image.stem}.png: no label map for image {image}{instead}")


def find_images(sources: Sequence[str]) -> list[Listed]:
    """Image files from a mixture of image files, folders (``images_in``) and lists (``read_image_list``)."""
    found: list[Listed] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            found += [Listed(str(inside)) for inside in images_in(path)]
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            found.append(Listed(source))
        elif path.suffix.lower() in _OTHER_IMAGES:
            raise _other_format(path)
        elif path.is_file():
            found += _images_of_list(path)
        else:
            raise missing(source, "image, folder or list")
    if not found:
        raise DataError(f"no images in {', '.join(sources) or 'an empty list'}")
    return found


def _images_of_list(path: Path) -> list[Listed]:
    try:
        return read_image_list(path)
    except NotTextError:
        raise DataError(f"{path}: neither an image ({_READ}) nor a text list of images") from None


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted; hidden files and files of other kinds do not count.

    DataError for no images, for broken links, and for images in formats that are not read: leaving them out
    without a word would give results of fewer images than the user has.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    found = [path for path in inside if path.suffix.lower() in IMAGE_SUFFIXES]
    for path in inside:
        if path.suffix.lower() in _OTHER_IMAGES:
            raise _other_format(path)
    for path in found:
        if not path.is_file():
            raise missing(path, "image file")
    if not found:
        deeper = "; folders inside it are not searched" if any(path.is_dir() for path in inside) else ""
        raise DataError(f"{folder}: no images in this folder ({_READ}){deeper}")
    return found


def read_array(path: str) -> np.ndarray:
    """The numbers of a .npy file; DataError if it holds none. No code that a file holds is run."""
    try:
        with open_regular(path, MAX_BLOB_BYTES) as stream:
            values = read_npy(stream, os.fstat(stream.fileno()).st_size)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npy file ({error})") from None
    if values.dtype.kind not in "buif":
        raise DataError(f"{path}: a .npy file of numbers was expected, found {values.dtype}")
    return values


def _other_format(path: Path) -> DataError:
    return DataError(f"{path}: images of this format are not read ({_READ} are): convert it or move it away")


def read_palette(path: str) -> np.ndarray:
    """Colours of labels 0, 1, ...: (n, 3) uint8 RGB, from an indexed PNG or a text file of 'R G B' lines."""
    if path.lower().endswith(".png"):
        with opened(path, "palette") as picture:
            colours = picture.getpalette() if picture.mode == "P" else None
        if colours is None:
            raise DataError(f"{path}: a palette comes from an indexed PNG (mode P)")
        return np.asarray(colours, dtype=np.uint8).reshape(-1, 3)
    try:
        text = read_regular(path, MAX_PALETTE_BYTES).decode("latin-1")
        rows = np.loadtxt(io.StringIO(text), dtype=np.int64, ndmin=2, comments="#")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: a palette is a text file with 'R G B' (0..255) on each line ({error})"
        ) from None
    if rows.ndim != 2 or rows.shape[1] != 3 or not 0 < len(rows) <= 256 or rows.min() < 0 or rows.max() > 255:
        raise DataError(
            f"{path}: a palette has up to 256 lines of three numbers 0..255, found shape {rows.shape}"
        )
    return rows.astype(np.uint8)
