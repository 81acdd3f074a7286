"""Labels, their changes and perturbations as pictures. ``panels`` arranges them under titles and legends.

Images are (H, W, 3) uint8 in BGR order, as OpenCV and Caffe hold them. Label maps are (H, W) integers,
255 meaning "no label". Palettes are (at most 256, 3) uint8 in RGB order, as PNG files hold them. A class that
its palette paints black is background: the photograph shows there. Where nothing counts, it is striped.

    changes = Changes.of(base, gp, truth)
    picture = changed(image, changes, size=display_size(image.shape))
    legend = changes.legend()                  # the kinds that occur, with their colours and numbers
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Sequence, Tuple, Union

import numpy as np
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.files.atomic import write_bytes
from caffe_gp.images.label_maps import IGNORE, full_palette
from caffe_gp.report import colours
from caffe_gp.report.colours import BROKEN, CHANGED, FIXED, GROUND, OTHER, VOID, Kind

PathLike = Union[str, Path]
Size = Tuple[int, int]  # height, width

# No picture for people is larger; label maps are never scaled.
LARGEST = 1200
_PAINT = 0.62  # share of a class's colour; the rest is the grey photograph
_DARKEST = 70  # grey of a black photograph under classes: VOC's colours are dark themselves
_STRIPES = 7  # pixels from one stripe of void to the next


# ---- sizes


def display_size(shape: Sequence[int], largest: int = LARGEST) -> Size:
    """Height and width at which a picture of a shape (H, W, ...) is shown: no side over ``largest``."""
    height, width = int(shape[0]), int(shape[1])
    scale = min(1.0, largest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(image: np.ndarray, size: Size) -> np.ndarray:
    """An image or float mask at another size: single pixels stay visible when enlarged by 2 or more."""
    import cv2

    height, width = size
    if image.shape[:2] == (height, width):
        return image
    larger = min(height / image.shape[0], width / image.shape[1])
    method = cv2.INTER_NEAREST if larger >= 2 else cv2.INTER_LINEAR if larger > 1 else cv2.INTER_AREA
    return cv2.resize(image, (width, height), interpolation=method)


def resize_labels(labels: np.ndarray, size: Size) -> np.ndarray:
    """A label map, or bool mask, at another size: each pixel is the one at its place."""
    if labels.shape[:2] == size:
        return labels
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
        for new, old in zip(size, labels.shape)
    )
    return labels[np.ix_(rows, columns)]


# ---- label maps


def colourise(labels: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """A label map in its palette's colours, (H, W, 3) uint8 BGR."""
    return np.ascontiguousarray(full_palette(palette)[..., ::-1])[np.asarray(labels)]


def overlay(
    image_bgr: np.ndarray, labels: np.ndarray, palette: np.ndarray | None = None, size: Size | None = None
) -> np.ndarray:
    """A label map painted over the image in grey, with white lines between classes; void is striped.

    image_bgr (H, W, 3) uint8, labels (H, W) integers, size (height, width) of the picture (default: the
    image's). Raises DataError when the sizes of image and labels differ.
    """
    _same_size("overlay", image_bgr, labels)
    size = size or display_size(image_bgr.shape)
    labels = resize_labels(np.asarray(labels), size)
    grey = _DARKEST + (255 - _DARKEST) / 255 * _grey(resize(image_bgr, size))
    painted = _PAINT * colourise(labels, palette).astype(np.float32) + (1 - _PAINT) * grey
    void = labels == IGNORE
    background = (full_palette(palette).max(axis=1) == 0)[labels] | void
    picture = np.where(background[..., None], grey, painted)
    picture[_borders(labels)] = 255
    return _striped(picture, void)


def legend_of(
    maps: Sequence[np.ndarray], names: Sequence[str] | None, palette: np.ndarray | None = None
) -> list[Kind]:
    """The classes that occur in label maps, the most frequent first, each with its name and colour.

    names   of the classes; without, or where they end, a class is called by its number
    Background, which shows the photograph, is left out.
    """
    counts = np.sum([np.bincount(np.asarray(labels).ravel(), minlength=256) for labels in maps], axis=0)
    full, names = full_palette(palette), names or ()
    found = []
    for label in np.argsort(-counts, kind="stable"):
        if counts[label] and label != IGNORE and full[label].any():
            name = names[label] if label < len(names) else f"class {label}"
            found.append(Kind(colours.css(full[label]), name))
    return found + [VOID] * bool(counts[IGNORE])


# ---- what changed


@dataclass(frozen=True)
class Changes:
    """Pixels whose label a perturbation changed; every mask is (H, W) bool.

    fixed    became right; broken: became wrong; other: wrong before and after (without ground truth: all)
    void     where the ground truth is 255: nothing counts there
    """

    fixed: np.ndarray
    broken: np.ndarray
    other: np.ndarray
    void: np.ndarray
    has_truth: bool

    @classmethod
    def of(cls, base: np.ndarray, gp: np.ndarray, truth: np.ndarray | None = None) -> Changes:
        """From label maps before and after, and the ground truth. DataError when the sizes differ."""
        base, gp = np.asarray(base), np.asarray(gp)
        _same_size("changes", base, gp)
        if truth is None:
            nothing = np.zeros(base.shape, bool)
            return cls(nothing, nothing, base != gp, nothing, False)
        truth = np.asarray(truth)
        _same_size("changes", base, truth)
        void = truth == IGNORE
        moved = (base != gp) & ~void
        fixed, broken = moved & (gp == truth), moved & (base == truth)
        return cls(fixed, broken, moved & ~fixed & ~broken, void, True)

    @property
    def any(self) -> np.ndarray:
        """All of them."""
        return self.fixed | self.broken | self.other

    def kinds(self) -> list[tuple[Kind, np.ndarray]]:
        """How each kind is drawn and called, with its mask; void is last."""
        if not self.has_truth:
            return [(CHANGED, self.other)]
        masks = (self.fixed, self.broken, self.other, self.void)
        return list(zip((FIXED, BROKEN, OTHER, VOID), masks))

    def legend(self) -> list[Kind]:
        """The kinds that occur, with their numbers of pixels: '1,234 put right'; void goes without."""
        counted = [(kind, int(mask.sum())) for kind, mask in self.kinds()]
        found = [
            kind if kind is VOID else Kind(kind.colour, f"{count:,} {kind.name}")
            for kind, count in counted
            if count
        ]
        return found or [Kind("#ffffff", "no label changed")]

    def only(self, name: str) -> Changes:
        """Those of one kind, 'fixed', 'broken' or 'other'; void stays."""
        nothing: Any = np.zeros_like(self.void)
        return replace(self, **{kind: nothing for kind in ("fixed", "broken", "other") if kind != name})


def changed(image_bgr: np.ndarray, changes: Changes, size: Size | None = None) -> np.ndarray:
    """Where labels changed, (h, w, 3) uint8 BGR: in the colours of ``Changes.legend`` on the pale photograph.

    size   (height, width) of the picture (default: the image's); in a smaller one single pixels are paler
    """
    _same_size("changed", image_bgr, changes.void)
    size = size or display_size(image_bgr.shape)
    grey = _grey(resize(image_bgr, size))
    pale = colours.rgb(GROUND)[0]
    picture = np.repeat(pale + (255 - pale) / 255 * grey, 3, axis=2)
    picture = _striped(picture, resize_labels(changes.void, size)).astype(np.float32)
    for kind, mask in changes.kinds():
        if kind is not VOID and mask.any():
            share = resize(mask.astype(np.float32), size)[..., None]
            picture += share * (colours.bgr(kind.colour).astype(np.float32) - picture)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def largest_region(mask: np.ndarray, least: float = 0.15) -> tuple[slice, slice] | None:
    """The window around the largest coherent part of a mask (H, W) bool, of the image's proportions.

    least   of the image's sides the window covers at least this share
    Parts that are a few pixels apart count as one. None where the mask is empty.
    """
    import cv2

    if not mask.any():
        return None
    height, width = mask.shape
    reach = 2 * max(1, round(max(mask.shape) / 200)) + 1
    joined = cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8))
    _, parts = cv2.connectedComponents(joined, connectivity=8)
    sizes = np.bincount(parts[mask])
    rows, columns = np.nonzero(mask & (parts == int(sizes.argmax())))
    share = max(least, 1.2 * np.ptp(rows) / height, 1.2 * np.ptp(columns) / width)
    window = []
    for places, size in ((rows, height), (columns, width)):
        length = min(size, max(1, round(share * size)))
        first = min(max(0, round((places.min() + places.max() + 1 - length) / 2)), size - length)
        window.append(slice(int(first), int(first) + length))
    return window[0], window[1]


# ---- perturbations


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


# ---- files


def png_bytes(image_bgr: np.ndarray) -> bytes:
    """An (H, W, 3) uint8 BGR image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    # Pillow's "optimize" makes them 3 % smaller and takes ten times as long.
    Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1])).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg_bytes(image_bgr: np.ndarray) -> bytes:
    """The same as a JPEG file, for pages: photographs are a fifth as large, edges of colours stay sharp."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image_bgr[..., ::-1]))
    picture.save(buffer, "JPEG", quality=87, subsampling=0)
    return buffer.getvalue()


def save_png(path: PathLike, image_bgr: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 BGR image as PNG; the file appears only when it is complete."""
    write_bytes(path, png_bytes(image_bgr))


# ---- pieces


def _grey(image_bgr: np.ndarray) -> np.ndarray:
    """(H, W, 1) float32."""
    import cv2

    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)


def _borders(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose right or lower neighbour has another label."""
    found = np.zeros(labels.shape, bool)
    found[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    found[:-1] |= labels[:-1] != labels[1:]
    return found


def _striped(picture: np.ndarray, void: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) of any numbers as uint8, with stripes where void is true."""
    high, wide = void.shape
    stripes = (np.arange(high)[:, None] + np.arange(wide)[None]) % _STRIPES < 2
    picture = np.clip(np.broadcast_to(picture, (high, wide, 3)), 0, 255).astype(np.uint8)
    picture[void & stripes] = colours.bgr(VOID.colour)
    return picture


def _same_size(what: str, first: np.ndarray, second: np.ndarray) -> None:
    if np.shape(first)[:2] != np.shape(second)[:2]:
        sizes = f"{np.shape(first)} and {np.shape(second)}"
        raise DataError(f"{what}: pictures of one size expected, found {sizes}")
