"""Label maps and images as pictures: palettes, overlays, change maps, panels.

Images are (H, W, 3) uint8 in BGR order, as OpenCV and Caffe hold them. Label maps are (H, W) integers,
255 meaning "no label". Palettes are (256, 3) uint8 in RGB order, as PNG files hold them.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Sequence, Union

import cv2
import numpy as np
from PIL import Image

from caffe_gp.errors import DataError

PathLike = Union[str, Path]
IGNORE = 255

# changed_map's colours, BGR: chosen to stay apart for colour-blind readers too.
FIXED = (120, 190, 60)
BROKEN = (60, 60, 225)
OTHER = (60, 200, 250)
UNCHANGED = (48, 48, 48)
UNKNOWN = (110, 110, 110)

TITLE_HEIGHT = 24


def voc_palette() -> np.ndarray:
    """The palette of the VOC label PNGs, (256, 3) uint8 RGB.

    The devkit's rule: the three lowest bits of the label become the highest bits of red, green and blue,
    the next three the second highest, and so on. Label 0 is black, 255 is (224, 224, 192).
    """
    label = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            bit = (label >> (3 * place + channel)) & 1
            palette[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return palette


def save_label_png(path: PathLike, labels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Write a label map as an indexed PNG (Pillow's mode P): pixel values are labels, colours only decorate.

    labels   (H, W) integers in 0..255
    palette  up to (256, 3) uint8 RGB; default: VOC's
    The file appears under its name only when it is complete. Raises DataError for values that do not fit.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or not labels.size:
        raise DataError(f"{path}: a label map has two dimensions (H, W), found shape {labels.shape}")
    if labels.dtype.kind not in "iub" or int(labels.min()) < 0 or int(labels.max()) > 255:
        found = f"{labels.dtype} in {labels.min()}..{labels.max()}"
        raise DataError(f"{path}: labels must be integers in 0..255, found {found}")
    picture = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
    picture.putpalette(_full_palette(palette).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=False)
    write_bytes(path, buffer.getvalue())


def read_label_png(path: PathLike, classes: int | None = None) -> np.ndarray:
    """Read a label map as indices, (H, W) uint8.

    classes  number of classes; then every value must lie in 0..classes-1 or be 255 (ignored)
    Accepts indexed and grey 8-bit pictures. Raises DataError for a missing or damaged file, for a picture in
    colours (labels decoded as RGB give nonsense scores silently) and for values out of range.
    """
    try:
        with Image.open(str(path)) as picture:
            mode = picture.mode
            labels = np.array(picture) if mode in ("P", "L", "1") else None
    except FileNotFoundError:
        raise DataError(f"{path}: no such label map") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable picture ({error})") from None
    if labels is None:
        raise DataError(
            f"{path}: expected label indices (PNG mode P or L), found mode {mode}: these look like palette "
            "colours. Use the original indexed PNG, or map colours back to indices first"
        )
    labels = labels.astype(np.uint8)
    if classes is not None:
        found = np.unique(labels)
        wrong = found[(found >= classes) & (found != IGNORE)]
        if wrong.size:
            raise DataError(
                f"{path}: labels must be 0..{classes - 1} or {IGNORE}, found {wrong[:8].tolist()}: "
                "another data set's labels, or colours saved as grey"
            )
    return labels


def colourise(labels: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """A label map in its palette's colours, (H, W, 3) uint8 BGR."""
    return np.ascontiguousarray(_full_palette(palette)[np.asarray(labels)][..., ::-1])


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


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write a file under a temporary name beside its own, then rename it. Makes missing folders."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix="." + path.name + ".")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        # mkstemp's files are private; give this one the rights that open() would have given it.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, str(path))
    except BaseException:
        os.unlink(temporary)
        raise


def _full_palette(palette: np.ndarray | None) -> np.ndarray:
    """A palette filled up to 256 colours with VOC's."""
    full = voc_palette()
    if palette is not None:
        given = np.asarray(palette)
        if given.ndim != 2 or given.shape[1] != 3 or len(given) > 256:
            raise DataError(f"a palette has the shape (at most 256, 3), found {given.shape}")
        full[: len(given)] = given
    return full


def _same_size(what: str, first: np.ndarray, second: np.ndarray) -> None:
    if np.shape(first)[:2] != np.shape(second)[:2]:
        sizes = f"{np.shape(first)} and {np.shape(second)}"
        raise DataError(f"{what}: pictures of one size expected, found {sizes}")


def _title(text: str, width: int) -> np.ndarray:
    """A white strip with the text centred in it, shrunk to fit."""
    strip = np.full((TITLE_HEIGHT, width, 3), 255, np.uint8)
    scale = 0.5
    (length, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    if length > width - 4:
        scale *= (width - 4) / length
        (length, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    place = ((width - length) // 2, (TITLE_HEIGHT + tall) // 2)
    return cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (40, 40, 40), 1, cv2.LINE_AA)
