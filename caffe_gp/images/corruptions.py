"""Corruptions of photographs: what a camera, bad light or a small file does to them, in five strengths.

    corruption = Corruption.named("gaussian-noise:3")
    corruption.of(pixels)             # (h, w, 3) uint8 RGB -> the same

Kinds and parameters are those of ImageNet-C (Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", ICLR 2019, arXiv 1903.12261; the severities 1 to 5 of its
code), which are meant for images of 224 x 224: a blur of so many pixels is stronger on smaller images, and
weaker on larger ones. Values are rounded to whole grey levels, where ImageNet-C cuts their fractions off.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from caffe_gp.errors import UsageError, check_array, did_you_mean

STRENGTHS = (1, 2, 3, 4, 5)
# The parameter of each strength.
PARAMETERS: dict[str, tuple[float, ...]] = {
    "gaussian-noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation, of pixels in 0..1
    "gaussian-blur": (1, 2, 3, 4, 6),  # standard deviation in pixels
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),  # added to the value of HSV, in 0..1
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),  # factor of the distance from the channel's mean
    "jpeg": (25, 18, 15, 10, 7),  # quality
}
KINDS = tuple(PARAMETERS)


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption and its strength, 1 to 5. UsageError for others."""

    kind: str
    strength: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            hint = did_you_mean(self.kind, KINDS)
            raise UsageError(f"unknown corruption '{self.kind}'{hint} (known: {', '.join(KINDS)})")
        if self.strength not in STRENGTHS:
            raise UsageError(f"corruption '{self.kind}': strengths are 1 to 5, found {self.strength}")

    @classmethod
    def named(cls, text: str) -> Corruption:
        """Of 'KIND:STRENGTH', like 'jpeg:3'; UsageError for anything else."""
        kind, _, strength = text.partition(":")
        if not (strength.isascii() and strength.isdigit()):
            raise UsageError(f"corruption '{text}': KIND:STRENGTH expected, like jpeg:3")
        return cls(kind, int(strength))

    @property
    def parameter(self) -> float:
        """Of this kind at this strength."""
        return PARAMETERS[self.kind][self.strength - 1]

    def __str__(self) -> str:
        return f"{self.kind}:{self.strength}"

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """The corrupted image, (h, w, 3) uint8 RGB like ``pixels``. The same image gets the same noise."""
        check_array(pixels, "an image to corrupt", "iu", (*np.shape(pixels)[:2], 3))
        if self.kind == "jpeg":
            return _jpeg(pixels, int(self.parameter))
        values = {
            "gaussian-noise": _noise,
            "gaussian-blur": _blur,
            "brightness": _brighter,
            "contrast": _contrast,
        }[self.kind](pixels, self.parameter)
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)

    def of_picture(self, picture: Image.Image) -> Image.Image:
        """The same of a Pillow picture in RGB."""
        return Image.fromarray(self.of(np.asarray(picture.convert("RGB"))))


def _noise(pixels: np.ndarray, deviation: float) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(np.ascontiguousarray(pixels).tobytes()))
    return pixels + random.normal(scale=255 * deviation, size=pixels.shape)


def _blur(pixels: np.ndarray, deviation: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(pixels.astype(np.float64), (deviation, deviation, 0), mode="nearest")


def _brighter(pixels: np.ndarray, more: float) -> np.ndarray:
    import cv2

    hsv = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[:, :, 2] = np.clip(hsv[:, :, 2] + more, 0, 1)
    return 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _contrast(pixels: np.ndarray, factor: float) -> np.ndarray:
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    return (pixels - mean) * factor + mean


def _jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))
