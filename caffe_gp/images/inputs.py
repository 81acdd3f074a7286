"""What a run over image files is given: files, folders, lists, palettes."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.images.reading import IMAGE_SUFFIXES


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
