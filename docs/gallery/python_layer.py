"""Write a Python layer

A layer of `type: "Python"` is a class with four methods, and runs on the embedded Caffe and on BVLC Caffe
alike. This one blurs its input along the rows. `backward` is what guided perturbations and training go
through: it is checked with finite differences, which any layer of yours should be, too.

From the command line such a module has to be allowed: `--allow-python-layers blur_layer`.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import caffe_gp.caffe as caffe

Path("blur_layer.py").write_text("""
import caffe
import numpy as np


class Blur(caffe.Layer):
    def setup(self, bottom, top):
        self.width = int(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.mean(bottom[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = self.mean(top[0].diff)  # a symmetric blur is its own adjoint

    def mean(self, x):
        half = self.width // 2
        padded = np.pad(x, [(0, 0)] * 3 + [(half, half)])
        return sum(padded[..., i : i + x.shape[3]] for i in range(self.width)) / self.width
""")
Path("net.prototxt").write_text("""
force_backward: true
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 6 dim: 40 } } }
layer { name: "blur" type: "Python" bottom: "data" top: "blur"
        python_param { module: "blur_layer" layer: "Blur" param_str: "5" } }
""")

sys.path.insert(0, ".")
net = caffe.Net("net.prototxt", caffe.TEST)
x = np.random.RandomState(0).rand(1, 1, 6, 40).astype(np.float32)
blurred = net.forward(data=x)["blur"].copy()

# The gradient of sum(weights * blur(x)), by the layer and by finite differences.
weights = np.random.RandomState(1).randn(*x.shape).astype(np.float32)
net.blobs["blur"].diff[...] = weights
net.backward(start="blur")
gradient = net.blobs["data"].diff.copy()
for place in [(0, 0, 0, 0), (0, 0, 3, 17), (0, 0, 5, 39)]:
    moved = []
    for step in (0.5, -0.5):
        z = x.copy()
        z[place] += step
        moved.append(float((weights * net.forward(data=z)["blur"]).sum(dtype=np.float64)))
    print(f"at {place[2:]}: backward {gradient[place]:+.4f}, finite differences {moved[0] - moved[1]:+.4f}")

figure, axes = plt.subplots(2, 1, figsize=(7, 2.6))
for axis, picture, title in zip(axes, (x, blurred), ("in", "out")):
    axis.imshow(picture[0, 0], cmap="gray", aspect="auto")
    axis.set_ylabel(title)
    axis.set_xticks([]), axis.set_yticks([])
figure.tight_layout()
figure.savefig("python_layer.png", dpi=120)
