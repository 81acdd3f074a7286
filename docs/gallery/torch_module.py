"""A torch module

Guided perturbations take any `torch.nn.Module` that gives class scores. Here it is the digits net itself,
written as plain `torch.nn` modules by `caffe_gp export`: so its labels can be held against those of the
Caffe net. `wrap_module` is the one line that a net of yours needs.

[Any PyTorch module](../modules.md) says what scores and inner blobs may be.
"""

import importlib.util

import matplotlib.pyplot as plt
import numpy as np
import torch

from caffe_gp import GuidedPerturbation, load_model, wrap_module
from caffe_gp.datasets.digit_scenes import PALETTE, DigitScenes
from caffe_gp.export import export_net
from caffe_gp.models import zoo
from caffe_gp.models.weights import require

export_net(zoo.get("digits").prototxt(), require("digits"), torch_file="digits_net.py")
spec = importlib.util.spec_from_file_location("digits_net", "digits_net.py")
digits_net = importlib.util.module_from_spec(spec)
spec.loader.exec_module(digits_net)
module = digits_net.load()  # an ordinary torch.nn.Module
print("a torch.nn.Module:", isinstance(module, torch.nn.Module))

digits = load_model("digits")
images, truth = DigitScenes("test").batch(range(20))
inputs = digits.preprocess.batch(images[..., ::-1])

wrapped = wrap_module(module, inputs)
torchs = GuidedPerturbation(wrapped)(inputs, eps=4.0)
caffes = GuidedPerturbation(digits.net)(inputs, eps=4.0)
for name, labels in (("before", torchs.base_labels), ("after", torchs.labels)):
    print(f"right {name:<7}{100 * (labels == truth).mean():.2f} %")
differ = (torchs.labels != caffes.labels).mean()
print("labels as the Caffe net's, but for one in a thousand at most:", bool(differ < 1e-3))

colours = np.array(PALETTE, np.uint8)
shown = {
    "before": torchs.base_labels,
    "after, torch": torchs.labels,
    "after, Caffe": caffes.labels,
    "truth": truth,
}
figure, axes = plt.subplots(1, 5, figsize=(10, 2.3))
axes[0].imshow(images[3][..., ::-1])
axes[0].set_title("scene")
for axis, (title, labels) in zip(axes[1:], shown.items()):
    axis.imshow(colours[labels[3]], interpolation="nearest")
    axis.set_title(title)
for axis in axes:
    axis.axis("off")
figure.tight_layout()
figure.savefig("torch_module.png", dpi=110)
