"""Random crops of labelled images, for training: sample k is the same however often it is asked for.

    crops = RandomCrops(images, labels, size=(240, 240), scales=(0.7, 1.4), seed=0)
    image, labels = crops.sample(17)

The images are gone through in a new order each epoch. A crop has a random place and scale, is mirrored half
the time, and its brightness, contrast and colours vary.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from caffe_gp.errors import DataError

# Contrast, and grey levels of brightness and of each colour channel on top.
CONTRAST = (0.8, 1.25)
BRIGHTNESS = 20.0
COLOUR = 8.0


class RandomCrops:
    """Crops of images held in memory.

    images   (H, W, 3) uint8 BGR each
    labels   (H, W) uint8 each
    size     (height, width) of the crops
    scales   smallest and largest factor by which the images are enlarged
    Raises DataError for images that cannot fill a crop.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        size: tuple[int, int],
        scales: tuple[float, float] = (1.0, 1.0),
        seed: int = 0,
    ) -> None:
        self.images, self.labels, self.size, self.scales, self.seed = images, labels, size, scales, seed
        if not len(images) or len(images) != len(labels):
            raise DataError(f"as many images as label maps, found {len(images)} and {len(labels)}")
        height, width = (round(side / scales[0]) for side in size)
        for image, label in zip(images, labels):
            if image.shape[:2] != label.shape or image.shape[0] < height or image.shape[1] < width:
                raise DataError(
                    f"crops of {size[1]} x {size[0]} at scale {scales[0]:g} need images of {width} x {height}"
                    f" with labels of their size, found {image.shape} and {label.shape}"
                )

    def sample(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Crop ``index``, 0, 1, ...: image (h, w, 3) uint8 BGR and labels (h, w) uint8."""
        import cv2

        epoch, place = divmod(index, len(self.images))
        chosen = np.random.RandomState([self.seed, epoch, 0]).permutation(len(self.images))[place]
        random = np.random.RandomState([self.seed, index, 1])
        scale = np.exp(random.uniform(*np.log(self.scales)))
        height, width = (round(side / scale) for side in self.size)
        image, labels = self.images[chosen], self.labels[chosen]
        top = random.randint(image.shape[0] - height + 1)
        left = random.randint(image.shape[1] - width + 1)
        part = np.s_[top : top + height, left : left + width]
        size = self.size[::-1]
        image = cv2.resize(image[part], size, interpolation=cv2.INTER_LINEAR)
        labels = cv2.resize(labels[part], size, interpolation=cv2.INTER_NEAREST)
        if random.rand() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return _recoloured(image, random), labels


def _recoloured(image: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    mean = image.mean()
    shift = random.uniform(-BRIGHTNESS, BRIGHTNESS) + random.uniform(-COLOUR, COLOUR, 3)
    changed = (image - mean) * random.uniform(*CONTRAST) + mean + shift
    return changed.clip(0, 255).round().astype(np.uint8)


def median_frequency_weights(labels: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """Weight of each class, (classes,) float64: median of the frequencies over its own.

    A class's frequency is its share of the labelled pixels of the images that have it (Eigen and Fergus,
    ICCV 2015, section 6.3.2). Labels of ``classes`` or more are not counted. Raises DataError for a class
    that no image has.
    """
    pixels, seen = np.zeros(classes), np.zeros(classes)
    for label in labels:
        counts = np.bincount(label[label < classes], minlength=classes)
        pixels += counts
        seen += (counts > 0) * counts.sum()
    if not pixels.all():
        raise DataError(f"classes {np.flatnonzero(pixels == 0).tolist()} have no pixel to be weighted by")
    frequency = pixels / seen
    return np.median(frequency) / frequency
