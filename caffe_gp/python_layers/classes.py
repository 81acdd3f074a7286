"""The Python data layer that feeds images with a class each to a net in training and in its tests.

    layer { name: "data" type: "Python" top: "data" top: "label" include { phase: TRAIN }
            python_param { module: "caffe_gp.python_layers.classes" layer: "ClassesLayer"
                           param_str: '{"data": "mnist-train", "part": "learning", "mean": [0],
                                        "scale": 0.00390625, "batch": 64, "seed": 1}' } }

data    a set of caffe_gp.datasets.classification, in ``places.data_folder()``
part    'learning' or 'tuning', of ``split``; without it, all of the set
mean    subtracted from the grey levels 0..255: blue, green, red, or one for grey images
scale   factor after the subtraction (default 1)
batch   images at a time
seed    of the order, which is a new one each epoch; without it, the set's own order
mirror  whether half the images, chosen at random, are mirrored (default false; needs a seed)

tops: images (N, C, H, W) and labels (N,).
"""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np

from caffe_gp.datasets import classification
from caffe_gp.errors import NetError
from caffe_gp.files import places
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.python_layers.base import Layer


class ClassesLayer(Layer):
    """The images of a set, a batch at a time, for ever.

    ``position`` is the number of images given so far; set it to resume where an earlier run stopped. Which
    images come next, and which of them are mirrored, depends on it and on the seed alone.
    """

    def setup(self, bottom: list[Any], top: list[Any]) -> None:
        """Read param_str and the images. Raises NetError for a param_str that cannot be used and for other
        than two tops, DataError where the set is not there."""
        try:
            options = json.loads(self.param_str)
            name, part = options["data"], options.get("part")
            self.batch, scale = int(options["batch"]), float(options.get("scale", 1.0))
            mean = tuple(map(float, np.atleast_1d(options["mean"])))
            self.shuffled, self.seed = "seed" in options, int(options.get("seed", 0))
            self.mirror = bool(options.get("mirror", False))
            known = part in (None, "learning", "tuning")
            if self.batch < 1 or not known or self.mirror > self.shuffled:
                raise ValueError("batch from 1, part 'learning' or 'tuning', mirror with a seed")
        except (ValueError, KeyError, TypeError) as error:
            raise NetError(f"ClassesLayer: unusable param_str {self.param_str!r}: {error!r}") from None
        if bottom or len(top) != 2:
            raise NetError(f"ClassesLayer: two tops (data, label) and no bottom, found {len(top)} tops")
        self.set = _part(name, part)
        channels = self.set.images.shape[3]
        if len(mean) not in (1, channels):
            raise NetError(f"ClassesLayer: {len(mean)} means for images of {channels} channels of '{name}'")
        self.feed = Preprocess(mean, scale, channels=channels)
        self.position = 0
        self._order: tuple[int, np.ndarray] = (-1, np.arange(len(self.set)))

    def reshape(self, bottom: list[Any], top: list[Any]) -> None:
        height, width, channels = self.set.images.shape[1:]
        top[0].reshape(self.batch, channels, height, width)
        top[1].reshape(self.batch)

    def forward(self, bottom: list[Any], top: list[Any]) -> None:
        places = range(self.position, self.position + self.batch)
        chosen = np.array([self._image_at(place) for place in places])
        images = self.feed.batch(self.set.images[chosen])
        if self.mirror:
            flipped = np.random.RandomState([self.seed, self.position, 1]).rand(self.batch) < 0.5
            images = np.where(flipped[:, None, None, None], images[..., ::-1], images)
        top[0].data[...] = images
        top[1].data[...] = self.set.labels[chosen]
        self.position += self.batch

    def backward(self, top: list[Any], propagate_down: list[bool], bottom: list[Any]) -> None:
        pass  # data has no gradient

    def _image_at(self, place: int) -> int:
        """The image that is the ``place``-th to be given."""
        epoch, index = divmod(place, len(self.set))
        if self.shuffled and self._order[0] != epoch:
            random = np.random.RandomState([self.seed, epoch, 0])
            self._order = (epoch, random.permutation(len(self.set)))
        return int(self._order[1][index])


def _part(name: str, part: str | None) -> classification.ClassificationSet:
    root = str(places.data_folder())
    if part is None:
        return classification.get(name, root)
    learning, tuning = _split(name, root)
    return learning if part == "learning" else tuning


@functools.lru_cache(maxsize=2)
def _split(name: str, root: str) -> tuple[classification.ClassificationSet, classification.ClassificationSet]:
    """Read once for the training net and its test nets."""
    return classification.get(name, root).split()
