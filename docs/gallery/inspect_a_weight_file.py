"""Inspect a weight file

`caffe_gp inspect FILE` says what a file is: which layers and shapes are in it, and which nets by name it
fits. It goes by the content, so a web page, a PyTorch checkpoint or half a download with the wrong ending
is recognised. From Python, `caffe.Net.params` is the way to the numbers.
"""

import subprocess
import sys

import matplotlib.pyplot as plt

import caffe_gp.caffe as caffe
from caffe_gp.models import zoo
from caffe_gp.models.weights import require

path = str(require("lenet"))
done = subprocess.run(
    [sys.executable, "-m", "caffe_gp", "inspect", path], capture_output=True, text=True, check=True
)
print(done.stdout.replace(path, "lenet.caffemodel"))

net = caffe.Net(str(zoo.get("lenet").prototxt()), path, caffe.TEST)
print(f"{'layer':<8}{'shape':<20}{'mean':>9}{'deviation':>11}{'largest':>9}")
figure, axes = plt.subplots(1, len(net.params), figsize=(9, 2.2), sharey=True)
for axis, (name, (weights, _bias)) in zip(axes, net.params.items()):
    w = weights.data
    print(f"{name:<8}{str(tuple(w.shape)):<20}{w.mean():9.4f}{w.std():11.4f}{abs(w).max():9.3f}")
    axis.hist(w.ravel(), bins=50, range=(-0.5, 0.5), density=True)
    axis.set_title(name)
figure.tight_layout()
figure.savefig("inspect_a_weight_file.png", dpi=120)
