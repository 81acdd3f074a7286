"""The Python data layer that feeds digit scenes to a net in training.

    layer { name: "data" type: "Python" top: "data" top: "label"
            python_param { module: "caffe_gp.python_layers.digit_scenes"
                           layer: "DigitScenesLayer"
                           param_str: '{"split": "train", "batch": 10, "mean": [104, 117, 123]}' } }

tops: images (N, 3, 96, 96), BGR grey levels minus the mean, and labels (N, 1, 96, 96).
"""

from __future__ import annotations

import json
from typing import Any

from caffe_gp.datasets.digit_scenes import SIZE, DigitScenes
from caffe_gp.errors import NetError
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.python_layers.base import Layer


class DigitScenesLayer(Layer):
    """Scenes 0, 1, 2, ... of a split, a batch at a time, for ever.

    ``position`` is the next scene's index; set it to resume where an earlier run stopped.
    """

    def setup(self, bottom: list[Any], top: list[Any]) -> None:
        """Read param_str. Raises NetError when it lacks a field or the layer has not exactly two tops."""
        try:
            options = json.loads(self.param_str)
            self.scenes = DigitScenes(options["split"], int(options.get("seed", 0)))
            self.batch = int(options["batch"])
            self.feed = Preprocess(tuple(options["mean"]))
        except (ValueError, KeyError, TypeError) as error:
            raise NetError(f"DigitScenesLayer: unusable param_str {self.param_str!r}: {error!r}") from None
        if bottom or len(top) != 2:
            raise NetError(f"DigitScenesLayer: two tops (data, label) and no bottom, found {len(top)} tops")
        self.position = 0

    def reshape(self, bottom: list[Any], top: list[Any]) -> None:
        top[0].reshape(self.batch, 3, SIZE, SIZE)
        top[1].reshape(self.batch, 1, SIZE, SIZE)

    def forward(self, bottom: list[Any], top: list[Any]) -> None:
        images, labels = self.scenes.batch(range(self.position, self.position + self.batch))
        self.position += self.batch
        top[0].data[...] = self.feed.batch(images[..., ::-1])
        top[1].data[...] = labels[:, None]

    def backward(self, top: list[Any], propagate_down: list[bool], bottom: list[Any]) -> None:
        pass  # data has no gradient
