"""Correct a segmentation

One call labels images twice: before, and after a small step that the net itself asks for. Nothing is
trained. The picture shows the three scenes that gain most and the one that loses most, their labels before
and after, and the pixels whose label changed: blue ones are right now, orange ones were right before,
black ones are wrong both times.

The scenes are real handwritten digits on photographs, made on the spot from files inside scikit-learn and
scikit-image.
"""

import matplotlib.pyplot as plt
import numpy as np

from caffe_gp import GuidedPerturbation, load_model
from caffe_gp.datasets.digit_scenes import PALETTE, DigitScenes
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.report.pictures import Changes, changed, overlay

digits = load_model("digits")  # the net, and how it is fed
images, truth = DigitScenes("test").batch(range(100))  # images blue first

inputs = digits.preprocess.batch(images[..., ::-1])
result = GuidedPerturbation(digits.net)(inputs, eps=digits.eps)


def mean_iu(labels):
    return 100 * ConfusionMatrix(11).update(truth, labels).mean_iu


print(f"eps {digits.eps:g} grey levels, 100 scenes")
print(f"mean IU before  {mean_iu(result.base_labels):.2f} %")
print(f"mean IU after   {mean_iu(result.labels):.2f} %")
print(f"labels changed  {100 * (result.labels != result.base_labels).mean():.2f} %")

# The three scenes that gain most, and the one that loses most.
right_before, right_after = result.base_labels == truth, result.labels == truth
gains = right_after.sum(axis=(1, 2)) - right_before.sum(axis=(1, 2)).astype(int)
order = np.argsort(-gains)
chosen = [*order[:3], order[-1]]

colours = np.array(PALETTE, np.uint8)
figure, axes = plt.subplots(4, 5, figsize=(8, 6.8))
for row, i in zip(axes, chosen):
    maps = {"before": result.base_labels[i], "after": result.labels[i], "truth": truth[i]}
    shown = {"scene": images[i]}
    shown |= {title: overlay(images[i], labels, colours) for title, labels in maps.items()}
    shown["changed"] = changed(images[i], Changes.of(maps["before"], maps["after"], truth[i]))
    for axis, (title, picture) in zip(row, shown.items()):
        axis.imshow(picture[..., ::-1], interpolation="nearest")
        axis.set_title(title)
        axis.axis("off")
figure.tight_layout()
figure.savefig("correct_a_segmentation.png", dpi=110)
