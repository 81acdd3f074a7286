"""Corruptions of images, beside the libraries that ImageNet-C's own code calls."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import DataError, UsageError
from caffe_gp.images.corruptions import KINDS, PARAMETERS, STRENGTHS, Corruption

PIXELS = np.random.RandomState(0).randint(0, 256, (40, 56, 3)).astype(np.uint8)
PIXELS[8:30, 10:40] = (200, 90, 30)


def expected(kind, c):
    """As make_imagenet_c.py writes it, before its clip and its cut to whole numbers; x in 0..1."""
    filters, color = pytest.importorskip("skimage.filters"), pytest.importorskip("skimage.color")
    x = PIXELS / 255.0
    if kind == "gaussian-blur":
        return np.stack([filters.gaussian(x[:, :, k], sigma=c) for k in range(3)], axis=2)
    if kind == "brightness":
        x = color.rgb2hsv(x)
        x[:, :, 2] = np.clip(x[:, :, 2] + c, 0, 1)
        return color.hsv2rgb(x)
    means = np.mean(x, axis=(0, 1), keepdims=True)
    return (x - means) * c + means


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", ["gaussian-blur", "brightness", "contrast"])
def test_is_imagenet_cs(kind, strength):
    found = Corruption(kind, strength).of(PIXELS)
    wanted = np.clip(expected(kind, PARAMETERS[kind][strength - 1]), 0, 1) * 255
    assert found.dtype == np.uint8 and np.abs(found - wanted).max() <= 0.501


@pytest.mark.parametrize("strength, quality", list(zip(STRENGTHS, (25, 18, 15, 10, 7))))
def test_jpeg_is_pillows_of_that_quality(strength, quality):
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "JPEG", quality=quality)
    assert np.array_equal(Corruption("jpeg", strength).of(PIXELS), np.asarray(Image.open(stream)))


@pytest.mark.parametrize("strength, deviation", list(zip(STRENGTHS, (0.08, 0.12, 0.18, 0.26, 0.38))))
def test_noise_has_its_deviation(strength, deviation):
    grey = np.full((200, 200, 3), 128, np.uint8)
    noise = Corruption("gaussian-noise", strength).of(grey) / 255 - 128 / 255
    inside = min(deviation, 0.12)  # stronger noise is cut off at black and white
    assert noise[np.abs(noise) < 0.5].std() == pytest.approx(inside, rel=0.05) or deviation > 0.12
    assert abs(noise.mean()) < 0.005


def test_noise_is_that_of_the_image():
    corruption = Corruption("gaussian-noise", 2)
    assert np.array_equal(corruption.of(PIXELS), corruption.of(PIXELS.copy()))
    other = PIXELS.copy()
    other[0, 0, 0] ^= 1
    apart = corruption.of(PIXELS).astype(int) - corruption.of(other)
    assert (apart[5:] != 0).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_stronger_is_further_away(kind):
    apart = [np.abs(Corruption(kind, s).of(PIXELS).astype(float) - PIXELS).mean() for s in STRENGTHS]
    assert apart == sorted(apart) and apart[0] > 0


def test_names():
    assert str(Corruption.named("jpeg:3")) == "jpeg:3"
    for name, message in (
        ("jpg:3", "unknown corruption 'jpg'.*jpeg"),
        ("jpeg", "KIND:STRENGTH expected"),
        ("jpeg:6", "strengths are 1 to 5, found 6"),
        ("jpeg:-1", "KIND:STRENGTH expected"),
    ):
        with pytest.raises(UsageError, match=message):
            Corruption.named(name)
    with pytest.raises(DataError, match="an image to corrupt"):
        Corruption("jpeg", 1).of(PIXELS[:, :, 0])
