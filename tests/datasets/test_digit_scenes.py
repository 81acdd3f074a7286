"""Digit scenes: the same scene for the same index, held-out digits and photographs, sizes as stated."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import importlib.util

import numpy as np
import pytest

from caffe_gp.datasets import digit_scenes, segmentation
from caffe_gp.datasets.class_names import DIGIT_SCENES
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.datasets.fetch import fetch, verify
from caffe_gp.errors import DataError
from caffe_gp.images.reading import read_image


@pytest.fixture(scope="module")
def scenes():
    return {split: DigitScenes(split) for split in ("train", "val", "test")}


def test_a_scene_depends_on_its_index_alone(scenes):
    images, labels = scenes["train"].batch([5, 0, 5, 1000000])
    assert np.array_equal(images[0], images[2]) and np.array_equal(labels[0], labels[2])
    fresh_image, fresh_labels = DigitScenes("train").scene(5)
    assert np.array_equal(fresh_image, images[0]) and np.array_equal(fresh_labels, labels[0])
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(DigitScenes("train", seed=1).scene(5)[0], images[0])
    assert not np.array_equal(scenes["val"].scene(5)[0], scenes["test"].scene(5)[0])


def test_digits_lie_where_they_always_did(scenes):
    """With every version of OpenCV and NumPy: the numbers in docs/results.md are of these scenes."""
    _, labels = scenes["val"].batch(range(50))
    assert hashlib.sha256(labels.tobytes()).hexdigest().startswith("1c438cadadc9")


def test_digits_are_interpolated_as_pytorch_does():
    """grid_sample's bicubic interpolation has the same kernel and constant."""
    torch = pytest.importorskip("torch")
    random = np.random.RandomState(0)
    image = random.uniform(0, 1, (8, 6)).astype(np.float32)
    points = random.uniform(-4, 12, (2000, 2))
    grid = torch.from_numpy(points / [5, 7] * 2 - 1).float()[None, None]  # -1 and 1: the outermost samples
    expected = torch.nn.functional.grid_sample(
        torch.from_numpy(image)[None, None], grid, "bicubic", "zeros", align_corners=True
    )[0, 0, 0]
    np.testing.assert_allclose(digit_scenes._sampled(image, points), expected, atol=2e-5)


def test_shapes_types_and_shares(scenes):
    assert len(DIGIT_SCENES) == 11
    for split in scenes.values():
        images, labels = split.batch(range(200))
        assert images.shape == (200, 96, 96, 3) and images.dtype == np.uint8
        assert labels.shape == (200, 96, 96) and labels.dtype == np.uint8
        counts = np.bincount(labels.ravel(), minlength=256)
        assert counts[11:].sum() == 0 and (counts[:11] > 0).all()
        assert 0.1 < 1 - counts[0] / counts.sum() < 0.4
        present = [set(np.unique(map_)) - {0} for map_ in labels]
        assert all(1 <= len(classes) <= 3 for classes in present)
        # Every digit about equally often, within what 200 scenes allow.
        assert counts[1:11].min() > 0.25 * counts[1:11].mean()


def test_size_is_free():
    image, labels = DigitScenes("val", size=131).scene(3)
    assert image.shape == (131, 131, 3) and labels.shape == (131, 131)


def test_splits_share_neither_digits_nor_training_photographs(scenes):
    sizes = {name: len(split.digits) for name, split in scenes.items()}
    assert sizes == {"train": 1200, "val": 200, "test": 397}
    assert np.shares_memory(scenes["train"].photographs[0], digit_scenes._photographs()[0])
    for train, test, photo in zip(
        scenes["train"].photographs, scenes["test"].photographs, digit_scenes._photographs()
    ):
        assert train.shape[1] + test.shape[1] == photo.shape[1]
        assert abs(train.shape[1] - 0.6 * photo.shape[1]) <= 1
        assert not np.shares_memory(train[:, -1], test[:, 0])


def test_digits_are_scikit_learns(scenes):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    assert np.array_equal(scenes["test"].digit_classes, bunch.target[1400:])
    assert np.allclose(scenes["train"].digits[7] * 16, bunch.images[7])


def test_photographs_ship_inside_the_packages():
    """They are listed in the installed distributions' records: nothing was downloaded."""
    records = {}
    for package, distribution in (("sklearn", "scikit-learn"), ("skimage", "scikit-image")):
        text = importlib.metadata.distribution(distribution).read_text("RECORD")
        if text is None:
            pytest.skip(f"{distribution} was installed without a RECORD")
        records[package] = {row[0] for row in csv.reader(text.splitlines())}
    for package, name in digit_scenes.PHOTOGRAPHS:
        assert f"{package}/{name}" in records[package]


def test_digits_stand_off_their_background_and_differ_in_shape(scenes):
    differences = []
    for index in range(60):
        image, labels = scenes["train"].scene(index)
        grey = image.mean(axis=2)
        for value in set(np.unique(labels)) - {0}:
            differences.append(abs(grey[labels == value].mean() - grey[labels == 0].mean()))
    assert 35 < np.median(differences) < 120


def test_errors():
    with pytest.raises(DataError, match="split must be one of train, val, test"):
        DigitScenes("all")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="scikit-image.*caffe_gp\\[demo\\]"):
        digit_scenes._package_file("skimage", "data/coffee.png")


def test_the_sets_hold_the_scenes(scenes, tmp_path):
    with pytest.raises(DataError, match="200 of 200 .* 'caffe_gp fetch data digit-scenes' gets them"):
        segmentation.get("digit-scenes-val", tmp_path).check()
    fetch("digit-scenes", tmp_path, say=lambda text: None)
    assert verify("digit-scenes", tmp_path) == 600
    for split, number in (("val", 200), ("test", 400)):
        images = segmentation.get(f"digit-scenes-{split}", tmp_path).check()
        assert len(images) == number
        image, labels = scenes[split].scene(17)
        assert np.array_equal(np.asarray(read_image(images.image("0017")))[..., ::-1], image)
        assert np.array_equal(images.truth("0017"), labels)
