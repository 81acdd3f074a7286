"""The Python data layer that feeds random crops of a labelled set to a net in training.

    layer { name: "data" type: "Python" top: "data" top: "label" top: "balance"
            python_param { module: "caffe_gp.python_layers.crops" layer: "CropsLayer"
                           param_str: '{"data": "camvid-train", "batch": 4, "size": [240, 240],
                                        "scales": [0.75, 1.35], "mean": [104, 117, 123], "label_stride": 2,
                                        "balance": 1.0}' } }

tops: images (N, 3, h, w), BGR grey levels minus the mean; labels (N, 1, h, w), 255 where nothing counts, or
with a ``label_stride`` s every s-th of them in both directions, the first being any of the first s; and the
classes' weights as a diagonal (C, C) matrix for InfogainLoss: median-frequency weights to the power
``balance``. The set is one of caffe_gp.datasets.segmentation, in ``places.data_folder()``.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from caffe_gp.datasets import segmentation
from caffe_gp.datasets.random_crops import RandomCrops, median_frequency_weights
from caffe_gp.errors import NetError
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.images.reading import read_bgr
from caffe_gp.python_layers.base import Layer


class CropsLayer(Layer):
    """Samples 0, 1, 2, ... of ``RandomCrops``, a batch at a time, for ever.

    ``position`` is the next sample's index; set it to resume where an earlier run stopped.
    """

    def setup(self, bottom: list[Any], top: list[Any]) -> None:
        """Read param_str and the images. Raises NetError for a param_str that lacks a field and for other
        than three tops, DataError where the set is not there."""
        try:
            options = json.loads(self.param_str)
            name, seed, scales = options["data"], int(options.get("seed", 0)), tuple(options["scales"])
            self.batch, self.size = int(options["batch"]), tuple(options["size"])
            self.feed = Preprocess(tuple(options["mean"]))
            self.stride = int(options.get("label_stride", 1))
            exponent = float(options["balance"])
        except (ValueError, KeyError, TypeError) as error:
            raise NetError(f"CropsLayer: unusable param_str {self.param_str!r}: {error!r}") from None
        if bottom or len(top) != 3:
            raise NetError(f"CropsLayer: three tops (data, label, balance), no bottom; found {len(top)} tops")
        data = segmentation.get(name).check()
        images = [read_bgr(data.image(item)) for item in data.ids]
        labels = [data.truth(item) for item in data.ids]
        self.crops = RandomCrops(images, labels, self.size, scales, seed)
        weights = median_frequency_weights(labels, len(data.classes))
        self.balance = np.diag(weights**exponent).astype(np.float32)
        self.position = 0

    def reshape(self, bottom: list[Any], top: list[Any]) -> None:
        top[0].reshape(self.batch, 3, *self.size)
        top[1].reshape(self.batch, 1, *(side // self.stride for side in self.size))
        top[2].reshape(*self.balance.shape)

    def forward(self, bottom: list[Any], top: list[Any]) -> None:
        for i in range(self.batch):
            image, labels = self.crops.sample(self.position + i)
            row, column = np.random.RandomState(self.position + i).randint(self.stride, size=2)
            top[0].data[i] = self.feed.batch(image[np.newaxis, :, :, ::-1])[0]
            top[1].data[i, 0] = labels[row :: self.stride, column :: self.stride]
        top[2].data[...] = self.balance
        self.position += self.batch

    def backward(self, top: list[Any], propagate_down: list[bool], bottom: list[Any]) -> None:
        pass  # data has no gradient
