"""Python layers for the cases, as users of pycaffe write them."""

from __future__ import annotations

import numpy as np

try:
    from caffe import Layer
except ImportError:  # on the machine itself there is only the embedded one
    from caffe_gp.caffe import Layer


class ScaledSquare(Layer):
    """top = factor * bottom ^ 2, with the factor in param_str."""

    def setup(self, bottom, top):
        self.factor = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data ** 2 + self.phase

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = 2 * self.factor * bottom[0].data * top[0].diff


class WithWeights(Layer):
    """A learned factor per element of the last axis."""

    def setup(self, bottom, top):
        self.blobs.add_blob(bottom[0].shape[-1])
        self.blobs[0].data[...] = 2

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self.blobs[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum((0, 1))
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data


class SumAndDifference(Layer):
    """Two bottoms, two tops."""

    def setup(self, bottom, top):
        if len(bottom) != 2 or len(top) != 2:
            raise Exception("two bottoms and two tops")

    def reshape(self, bottom, top):
        for i in range(len(top)):  # BVLC Caffe's vectors of blobs cannot be iterated over
            top[i].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data + bottom[1].data
        top[1].data[...] = bottom[0].data - bottom[1].data

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = top[0].diff + sign * top[1].diff


class SquaredLoss(Layer):
    """Half the mean squared distance over the batch."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        self.difference = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.difference**2) / bottom[0].num / 2.0

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.difference / bottom[i].num * top[0].diff[0]
