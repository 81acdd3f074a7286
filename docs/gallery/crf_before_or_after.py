"""A CRF before or after

A dense CRF smooths label maps along the edges of the photograph. Guided perturbations change the scores.
They may follow one another in two orders: the CRF behind the perturbed scores (the paper's table 5), or the
CRF's labels as the labels that the perturbation goes towards. The photograph that the CRF sees is the
unperturbed one.

On these scenes the CRF alone does best, and neither order adds to it. On VOC nets the first order gains, as
in the paper ([results](../results.md)): measure it on your net. The first run compiles the CRF's kernels,
some 20 seconds.
"""

import matplotlib.pyplot as plt
import numpy as np

from caffe_gp import GuidedPerturbation, load_model
from caffe_gp.crf import PRESETS, DenseCRF
from caffe_gp.datasets.digit_scenes import PALETTE, DigitScenes
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.report.pictures import overlay

digits = load_model("digits")
images, truth = DigitScenes("test").batch(range(30))
inputs = digits.preprocess.batch(images[..., ::-1])


def crf(scores):
    """Label maps (N, H, W) behind the CRF, of scores (N, classes, H, W)."""
    return np.stack(
        [DenseCRF(rgb, PRESETS["deeplab"]).labels(z) for rgb, z in zip(images[..., ::-1], scores)]
    )


def mean_iu(labels):
    return 100 * ConfusionMatrix(11).update(truth, labels).mean_iu


result = GuidedPerturbation(digits.net)(inputs, digits.eps, keep_scores=True)
smooth = crf(result.base_scores)
toward = GuidedPerturbation(digits.net, encoding="ground-truth")  # towards labels that are given: the CRF's
maps = {
    "before": result.base_labels,
    "GP": result.labels,
    "CRF": smooth,
    "GP, then CRF": crf(result.scores),
    "CRF, then GP": toward(inputs, digits.eps, labels=smooth).labels,
}
for name, labels in maps.items():
    print(f"{name:<14}{mean_iu(labels):6.2f} %")

colours = np.array(PALETTE, np.uint8)
figure, axes = plt.subplots(2, 1 + len(maps), figsize=(10, 3.8))
for row, i in zip(axes, (3, 15)):
    shown = {"scene": images[i]}
    shown |= {name: overlay(images[i], labels[i], colours) for name, labels in maps.items()}
    for axis, (title, picture) in zip(row, shown.items()):
        axis.imshow(picture[..., ::-1], interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
figure.tight_layout()
figure.savefig("crf_before_or_after.png", dpi=110)
