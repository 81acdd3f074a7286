"""Random crops: what they keep together, what they repeat; weights by median frequency."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.datasets import random_crops, segmentation
from caffe_gp.datasets.random_crops import RandomCrops, median_frequency_weights
from caffe_gp.errors import DataError

RNG = np.random.RandomState(0)


def scene(height=60, width=80):
    """An image whose blue channel says its label: blocks of 20 x 20."""
    labels = np.kron(RNG.randint(0, 4, (height // 20, width // 20)), np.ones((20, 20), int)).astype(np.uint8)
    image = np.stack([labels * 50 + 20, *RNG.randint(0, 255, (2, height, width))], axis=2)
    return image.astype(np.uint8), labels


SCENES = [scene() for _ in range(5)]
IMAGES, LABELS = zip(*SCENES)


@pytest.fixture
def plain(monkeypatch):
    """No change of colours, so that crops can be found again in their images."""
    for name in ("BRIGHTNESS", "COLOUR"):
        monkeypatch.setattr(random_crops, name, 0.0)
    monkeypatch.setattr(random_crops, "CONTRAST", (1.0, 1.0))


def test_crops_at_scale_one_are_pieces_of_the_images(plain):
    crops = RandomCrops(IMAGES, LABELS, (24, 32))
    mirrored = 0
    for k in range(10):
        image, labels = crops.sample(k)
        assert image.shape == (24, 32, 3) and image.dtype == np.uint8 and labels.dtype == np.uint8
        found = [
            flip
            for whole, truth in SCENES
            for top in range(60 - 24 + 1)
            for left in range(80 - 32 + 1)
            for flip in (1, -1)
            if np.array_equal(whole[top : top + 24, left : left + 32][:, ::flip], image)
            and np.array_equal(truth[top : top + 24, left : left + 32][:, ::flip], labels)
        ]
        assert found, k
        mirrored += found[0] == -1
    assert 1 <= mirrored <= 9


def test_labels_stay_with_their_pixels_at_every_scale(plain):
    crops = RandomCrops(IMAGES, LABELS, (30, 30), scales=(0.7, 1.4))
    for k in range(20):
        image, labels = crops.sample(k)
        said = (image[..., 0].astype(float) - 20) / 50
        inside = np.abs(said - said.round()) < 0.02  # interpolation mixes neighbours at the borders
        assert inside.mean() > 0.7 and set(np.unique(labels)) <= {0, 1, 2, 3}
        assert (said.round() == labels)[inside].mean() > 0.98


def test_every_epoch_sees_every_image_once_in_another_order(plain):
    flat = [np.full((20, 20, 3), value, np.uint8) for value in range(0, 250, 25)]
    crops = RandomCrops(flat, [image[..., 0] for image in flat], (10, 10))
    orders = [[int(crops.sample(10 * epoch + k)[0].mean()) for k in range(10)] for epoch in range(3)]
    assert all(sorted(order) == list(range(0, 250, 25)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_samples_depend_on_seed_and_index_only():
    first = RandomCrops(IMAGES, LABELS, (24, 32), (0.8, 1.5), seed=3)
    image, labels = first.sample(7)
    first.sample(2)
    again = RandomCrops(IMAGES, LABELS, (24, 32), (0.8, 1.5), seed=3).sample(7)
    assert np.array_equal(image, again[0]) and np.array_equal(labels, again[1])
    other = RandomCrops(IMAGES, LABELS, (24, 32), (0.8, 1.5), seed=4).sample(7)
    assert not np.array_equal(image, other[0])


def test_images_too_small_for_a_crop_are_refused():
    with pytest.raises(DataError, match="need images of 75 x 75"):
        RandomCrops(IMAGES, LABELS, (60, 60), (0.8, 1.2))
    with pytest.raises(DataError, match="as many images as label maps, found 5 and 4"):
        RandomCrops(IMAGES, LABELS[:4], (10, 10))


def test_median_frequency_by_hand():
    labels = [np.array([[0, 0, 0, 1]]), np.array([[0, 1, 2, 2]]), np.array([[0, 0, 255, 255]])]
    # Class 0: 6 of the 10 labelled pixels; 1: 2 of 8 in the two images that have it; 2: 2 of 4.
    assert np.allclose(median_frequency_weights(labels, 3), 0.5 / np.array([0.6, 0.25, 0.5]))
    with pytest.raises(DataError, match=r"classes \[3\] have no pixel"):
        median_frequency_weights(labels, 4)


def test_median_frequency_of_camvid(shared_data):
    """The weights in the training prototxt that SegNet's authors released for this split."""
    data = segmentation.get("camvid-train", shared_data)
    weights = median_frequency_weights([data.truth(item) for item in data.ids], len(data.classes))
    published = [0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614]
    # Theirs have another median: void is a twelfth class there. And their 'sign' is far from its frequency.
    ratio = np.delete(weights / published, data.classes.index("sign"))
    assert np.all(np.abs(ratio / np.median(ratio) - 1) < 0.12)
