"""Correct a segmentation

One call labels images twice: before, and after a small step that the net itself asks for. Nothing is
trained. The picture shows the three scenes that gain most and the one that loses most, their labels before
and after, and the pixels whose label changed: green ones are right now, red ones were right before.

The scenes are real handwritten digits on photographs, made on the spot from files inside scikit-learn and
scikit-image.
"""

import matplotlib.pyplot as plt
import numpy as np

from caffe_gp import GuidedPerturbation, load_model
from caffe_gp.datasets.digit_scenes import PALETTE, DigitScenes
from caffe_gp.evaluation.confusion import ConfusionMatrix

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
    before, after = result.base_labels[i], result.labels[i]
    changed = np.full((96, 96, 3), 48, np.uint8)
    changed[(before != after) & (after == truth[i])] = (60, 190, 120)
    changed[(before != after) & (before == truth[i])] = (225, 60, 60)
    shown = {"scene": images[i][..., ::-1], "before": colours[before], "after": colours[after]}
    shown |= {"truth": colours[truth[i]], "changed": changed}
    for axis, (title, picture) in zip(row, shown.items()):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title)
        axis.axis("off")
figure.tight_layout()
figure.savefig("correct_a_segmentation.png", dpi=110)
