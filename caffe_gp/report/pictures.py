"""Label maps and images as pictures: palettes, overlays, change maps, panels.

Images are (H, W, 3) uint8 in BGR order, as OpenCV and Caffe hold them. Label maps are (H, W) integers,
255 meaning "no label". Palettes are (256, 3) uint8 in RGB order, as PNG files hold them.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Sequence, Union

import numpy as np
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_bytes
from caffe_gp.images.label_maps import IGNORE, full_palette

PathLike = Union[str, Path]

# changed_map's colours, BGR: chosen to stay apart for colour-blind readers too.
FIXED = (120, 190, 60)
BROKEN = (60, 60, 225)
OTHER = (60, 200, 250)
UNCHANGED = (48, 48, 48)
UNKNOWN = (110, 110, 110)

TITLE_HEIGHT = 24


def colourise(labels: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """A label map in its palette's colours, (H, W, 3) uint8 BGR."""
    return np.ascontiguousarray(full_palette(palette)[np.asarray(labels)][..., ::-1])


def overlay(
    image_bgr: np.ndarray, labels: np.ndarray, palette: np.ndarray | None = None, alpha: float = 0.55
) -> np.ndarray:
    """The image with its labels painted over it; label 0 stays the image, 255 is whitened.

    image_bgr (H, W, 3) uint8, labels (H, W) integers, alpha the weight of the colours in 0..1.
    Raises DataError when the sizes differ.
    """
    _same_size("overlay", image_bgr, labels)
    colours = colourise(labels, palette).astype(np.float32)
    weight = np.where(np.asarray(labels) == 0, 0.0, alpha).astype(np.float32)[..., None]
    return np.clip(image_bgr * (1 - weight) + colours * weight + 0.5, 0, 255).astype(np.uint8)


def changed_map(base: np.ndarray, gp: np.ndarray, gt: np.ndarray | None = None) -> np.ndarray:
    """Where GP changed the labels, (H, W, 3) uint8 BGR on dark grey.

    With ground truth: green was wrong and is right, red was right and is wrong, yellow was and is wrong.
    Where the ground truth is 255, and everywhere without ground truth, a change is yellow.
    Raises DataError when the sizes differ.
    """
    _same_size("changed_map", base, gp)
    base, gp = np.asarray(base), np.asarray(gp)
    picture = np.empty(base.shape + (3,), np.uint8)
    picture[:] = UNCHANGED
    changed = base != gp
    if gt is not None:
        _same_size("changed_map", base, gt)
        picture[np.asarray(gt) == IGNORE] = UNKNOWN
    picture[changed] = OTHER
    if gt is not None:
        picture[changed & (gp == gt)] = FIXED
        picture[changed & (base == gt)] = BROKEN
    return picture


def amplify(perturbation: np.ndarray) -> np.ndarray:
    """A perturbation of the input made visible, (H, W, 3) uint8 BGR: 0 is mid-grey, the largest is full.

    perturbation  (C, H, W) or (H, W), any numbers; three channels are read as BGR, any other number of
    channels is averaged to grey
    """
    values = np.asarray(perturbation, dtype=np.float32)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3:
        raise DataError(f"a perturbation has the shape (C, H, W), found {values.shape}")
    if values.shape[0] != 3:
        values = np.repeat(values.mean(axis=0, keepdims=True), 3, axis=0)
    largest = float(np.abs(values).max()) if values.size else 0.0
    scaled = values / largest if largest > 0 else values
    return np.ascontiguousarray(np.clip(127.5 + 127.5 * scaled, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def panel(cells: Sequence[tuple[str, np.ndarray]], height: int | None = None, gap: int = 6) -> np.ndarray:
    """Pictures side by side under their titles, one uint8 BGR image.

    cells   (title, (H, W, 3) uint8 BGR) each; an empty title gives no title line if all are empty
    height  every picture is scaled to this height (nearest neighbour when enlarging by 2 or more, so that
            single pixels stay visible); default: the tallest one's
    """
    if not cells:
        raise DataError("a panel needs at least one picture")
    height = height or max(image.shape[0] for _, image in cells)
    titled = any(title for title, _ in cells)
    columns: list[np.ndarray] = []
    for title, image in cells:
        column = resize_to_height(image, height)
        if titled:
            column = np.vstack([_title(title, column.shape[1]), column])
        if columns:
            columns.append(np.full((column.shape[0], gap, 3), 255, np.uint8))
        columns.append(column)
    return np.hstack(columns)


def stack(rows: Sequence[np.ndarray], gap: int = 6) -> np.ndarray:
    """Panels below each other on white; narrower ones are filled up at the right."""
    import cv2

    if not rows:
        raise DataError("a stack needs at least one row")
    width = max(row.shape[1] for row in rows)
    out: list[np.ndarray] = []
    for row in rows:
        if out:
            out.append(np.full((gap, width, 3), 255, np.uint8))
        missing = width - row.shape[1]
        out.append(cv2.copyMakeBorder(row, 0, 0, 0, missing, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    return np.vstack(out)


def resize_to_height(image: np.ndarray, height: int) -> np.ndarray:
    """Scale a picture to a height in pixels, keeping its proportions."""
    import cv2

    if image.shape[0] == height:
        return image
    width = max(1, int(round(image.shape[1] * height / image.shape[0])))
    method = cv2.INTER_NEAREST if height >= 2 * image.shape[0] else cv2.INTER_AREA
    return cv2.resize(image, (width, height), interpolation=method)


def png_bytes(image_bgr: np.ndarray) -> bytes:
    """An (H, W, 3) uint8 BGR image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1])).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(path: PathLike, image_bgr: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 BGR image as PNG; the file appears only when it is complete."""
    write_bytes(path, png_bytes(image_bgr))


def _same_size(what: str, first: np.ndarray, second: np.ndarray) -> None:
    if np.shape(first)[:2] != np.shape(second)[:2]:
        sizes = f"{np.shape(first)} and {np.shape(second)}"
        raise DataError(f"{what}: pictures of one size expected, found {sizes}")


def _title(text: str, width: int) -> np.ndarray:
    """A white strip with the text centred in it, shrunk to fit."""
    import cv2

    strip = np.full((TITLE_HEIGHT, width, 3), 255, np.uint8)
    scale = 0.5
    (length, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    if length > width - 4:
        scale *= (width - 4) / length
        (length, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    place = ((width - length) // 2, (TITLE_HEIGHT + tall) // 2)
    return cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (40, 40, 40), 1, cv2.LINE_AA)
