"""The Python data layer that feeds digit scenes to a net in training.

    layer { name: "data" type: "Python" top: "data" top: "label"
            python_param { module: "caffe_gp.python_layers.digit_scenes"
                           layer: "DigitScenesLayer"
                           param_str: '{"split": "train", "batch": 10, "mean": [104, 117, 123]}' } }

tops: images (N, 3, 96, 96), BGR grey levels minus the mean, and labels (N, 1, 96, 96).
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np

from caffe_gp import engines
from caffe_gp.datasets.digit_scenes import SIZE, DigitScenes
from caffe_gp.errors import NetError

# The base class of the engine in use.
_Layer: Any = importlib.import_module("caffe" if engines.resolve() == "bvlc" else "caffe_gp.caffe").Layer


class DigitScenesLayer(_Layer):
    """Scenes 0, 1, 2, ... of a split, a batch at a time, for ever.

    ``position`` is the next scene's index; set it to go on where an earlier run stopped.
    """

    def setup(self, bottom: list[Any], top: list[Any]) -> None:
        """Read param_str. Raises NetError when it lacks a field or the layer has not exactly two tops."""
        try:
            options = json.loads(self.param_str)
            self.scenes = DigitScenes(options["split"], int(options.get("seed", 0)))
            self.batch = int(options["batch"])
            self.mean = np.asarray(options["mean"], np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise NetError(f"DigitScenesLayer: unusable param_str {self.param_str!r}: {error!r}") from None
        if bottom or len(top) != 2:
            raise NetError(f"DigitScenesLayer: two tops (data, label) and no bottom, found {len(top)} tops")
        self.position = 0

    def reshape(self, bottom: list[Any], top: list[Any]) -> None:
        """The sizes never change."""
        top[0].reshape(self.batch, 3, SIZE, SIZE)
        top[1].reshape(self.batch, 1, SIZE, SIZE)

    def forward(self, bottom: list[Any], top: list[Any]) -> None:
        """The next batch."""
        images, labels = self.scenes.batch(range(self.position, self.position + self.batch))
        self.position += self.batch
        top[0].data[...] = (images - self.mean).transpose(0, 3, 1, 2)
        top[1].data[...] = labels[:, None]

    def backward(self, top: list[Any], propagate_down: list[bool], bottom: list[Any]) -> None:
        """Data has no gradient."""
