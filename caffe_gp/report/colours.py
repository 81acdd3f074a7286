"""The one colour scheme: changed pixels, ours and the paper's, in pictures, plots and pages.

Any two of the colours of changed pixels, and the photograph under them, differ in lightness by 20 of CIELAB's
100 or more: they stay apart in grey print and for all kinds of colour vision (tests/report/test_colours.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence, Tuple, Union

import numpy as np

RGB = Tuple[int, int, int]
Colour = Union[str, Sequence[int], np.ndarray]  # '#rrggbb', or red, green and blue in 0..255


class Kind(NamedTuple):
    """One kind of pixel: its colour, '#rrggbb', and what a legend calls it."""

    colour: str
    name: str


# Changed pixels, with ground truth.
FIXED = Kind("#0b57a8", "put right")
BROKEN = Kind("#f08a00", "broken")
OTHER = Kind("#161616", "wrong before and after")
# Without ground truth.
CHANGED = Kind("#8a2ba8", "changed")
# The darkest grey that a photograph has under changed pixels.
GROUND = "#dedede"
# Where nothing counts: drawn as stripes of this grey.
VOID = Kind("#8c8c8c", "void")

KINDS = (FIXED, BROKEN, OTHER, CHANGED, VOID)  # in the order of legends

# Plots: ours and the paper's; lines of one plot (Okabe and Ito's colours, for all kinds of colour vision).
OURS, PAPER = "#0072B2", "#D55E00"
GREY = "#5b6470"
LINES = (OURS, PAPER, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def rgb(colour: Colour) -> RGB:
    """Red, green and blue of '#rrggbb'; numbers stay what they are."""
    if isinstance(colour, str):
        red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    else:
        red, green, blue = (int(value) for value in colour)
    return red, green, blue


def css(colour: Colour) -> str:
    """'#rrggbb' of red, green and blue."""
    return "#{:02x}{:02x}{:02x}".format(*rgb(colour))


def bgr(colour: Colour) -> np.ndarray:
    """(3,) uint8 in the order of OpenCV's and Caffe's images."""
    return np.array(rgb(colour)[::-1], np.uint8)


def lab(colour: Any) -> np.ndarray:
    """CIELAB (L, a, b) of sRGB colours under D65: L is the lightness, 0 black to 100 white."""
    values = np.asarray(rgb(colour) if isinstance(colour, (str, tuple)) else colour, np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.moveaxis(linear @ to_xyz.T / (0.9505, 1.0, 1.089), -1, 0)
    x, y, z = (np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116) for t in (x, y, z))
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
