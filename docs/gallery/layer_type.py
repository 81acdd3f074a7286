"""Add a layer type

A layer of a fork that is not here, or one of your own, with its own name and parameters in the prototxt:
register a class. Then nets with it load, train, and are perturbed. This one lets through what exceeds a
threshold by the square root.

[Layers of your own](../layers_of_your_own.md) has the rules.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import caffe_gp.caffe as caffe
from caffe_gp import CaffeGPError


@caffe.register_layer("RootUnit", root_unit_param="1 threshold float = 0")
class RootUnit(caffe.Layer):
    """sqrt(1 + x - threshold) - 1 above the threshold, else 0"""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        over = np.maximum(bottom[0].data - self.param.threshold, 0)
        top[0].data[...] = np.sqrt(1 + over) - 1

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            over = bottom[0].data - self.param.threshold
            slope = 0.5 / np.sqrt(1 + np.maximum(over, 0))
            bottom[0].diff[...] = top[0].diff * np.where(over > 0, slope, 0)


Path("net.prototxt").write_text("""
force_backward: true
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 101 } } }
layer { name: "root" type: "RootUnit" bottom: "data" top: "root" root_unit_param { threshold: 1 } }
""")
net = caffe.Net("net.prototxt", caffe.TEST)
x = np.linspace(-2, 8, 101, dtype=np.float32)[None]
y = net.forward(data=x)["root"][0].copy()
net.blobs["root"].diff[...] = 1
net.backward(start="root")
slope = net.blobs["data"].diff[0].copy()
print(f"at 0: {y[20]:.3f}; at 4: {y[60]:.3f}, slope {slope[60]:.3f}")

# A mistake in the prototxt is found before anything runs.
Path("wrong.prototxt").write_text(Path("net.prototxt").read_text().replace("threshold", "treshold"))
try:
    caffe.Net("wrong.prototxt", caffe.TEST)
except CaffeGPError as error:
    print(error)

figure, axes = plt.subplots(figsize=(5, 2.6))
axes.plot(x[0], y, label="RootUnit")
axes.plot(x[0], slope, label="its slope")
axes.legend()
figure.tight_layout()
figure.savefig("layer_type.png", dpi=120)
