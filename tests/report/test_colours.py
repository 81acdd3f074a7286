"""The colour scheme: apart by lightness, hence in grey print, and for colour-blind readers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from caffe_gp.report import colours
from caffe_gp.report.colours import BROKEN, CHANGED, FIXED, GROUND, OTHER

# The palest photograph that changed pixels lie on, and the darkest.
GROUNDS = ("#ffffff", GROUND)

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
COLOUR_BLIND = {
    "protanopia": ((0.1523, 1.0526, -0.2049), (0.1145, 0.7863, 0.0992), (-0.0039, -0.0481, 1.0520)),
    "deuteranopia": ((0.3673, 0.8606, -0.2280), (0.2801, 0.6725, 0.0474), (-0.0118, 0.0429, 0.9689)),
    "tritanopia": ((1.2555, -0.0767, -0.1788), (-0.0784, 0.9308, 0.1476), (0.0047, 0.6914, 0.3039)),
}


def seen(colour: str, kind: str) -> np.ndarray:
    """sRGB in 0..255 as somebody of this colour vision sees it."""
    values = np.array(colours.rgb(colour)) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(COLOUR_BLIND[kind]) @ linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_lab_is_that_of_the_standard():
    """sRGB's primaries in CIELAB, D65 (as colour calculators print them)."""
    assert colours.lab("#ff0000") == pytest.approx([53.24, 80.09, 67.20], abs=0.1)
    assert colours.lab("#0000ff") == pytest.approx([32.30, 79.19, -107.86], abs=0.1)
    assert colours.lab("#ffffff") == pytest.approx([100, 0, 0], abs=0.1)
    assert colours.lab((119, 119, 119))[0] == pytest.approx(50.03, abs=0.1)


@pytest.mark.parametrize("together", [(FIXED, BROKEN, OTHER), (CHANGED,)])
def test_changed_pixels_differ_in_lightness(together):
    every = [kind.colour for kind in together]
    pairs = [*itertools.combinations(every, 2), *itertools.product(every, GROUNDS)]
    for one, other in pairs:
        assert abs(colours.lab(one)[0] - colours.lab(other)[0]) >= 20, (one, other)


@pytest.mark.parametrize("kind", COLOUR_BLIND)
def test_changed_pixels_differ_for_colour_blind_readers(kind):
    every = [FIXED.colour, BROKEN.colour, OTHER.colour, *GROUNDS[:1]]
    for one, other in itertools.combinations(every, 2):
        first, second = (colours.lab(seen(colour, kind)) for colour in (one, other))
        assert np.linalg.norm(first - second) >= 25, (one, other)


def test_colours_as_text_and_numbers():
    assert colours.rgb("#0b57a8") == (11, 87, 168) and colours.css((11, 87, 168)) == "#0b57a8"
    assert colours.bgr("#0b57a8").tolist() == [168, 87, 11]
