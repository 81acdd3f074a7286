"""Iterations, and the true gradient

One step is enough, says the paper (its figure 5). More iterations take the labels of the last prediction
and step again. And if the net were told the true labels, how much could a step gain? That is no method, for
it needs the answer; it shows how much room there is above the net's own labels.

On these scenes two or three smaller steps of the same length together gain a little more than one, for two
or three times the passes.
"""

import matplotlib.pyplot as plt

from caffe_gp import GuidedPerturbation, load_model
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.evaluation.confusion import ConfusionMatrix

digits = load_model("digits")
images, truth = DigitScenes("test").batch(range(60))
inputs = digits.preprocess.batch(images[..., ::-1])


def mean_iu(labels):
    return 100 * ConfusionMatrix(11).update(truth, labels).mean_iu


own = {
    f"{n} x eps {4 / n:.2f}": GuidedPerturbation(digits.net, iterations=n)(inputs, 4 / n) for n in (1, 2, 3)
}
true = GuidedPerturbation(digits.net, encoding="ground-truth")(inputs, 4.0, labels=truth)

before = mean_iu(true.base_labels)
bars = {name: mean_iu(result.labels) for name, result in own.items()}
bars["true labels, 1 x eps 4"] = mean_iu(true.labels)
print(f"{'before':<26}{before:6.2f}")
for name, after in bars.items():
    print(f"{name:<26}{after:6.2f} {after - before:+6.2f}")

figure, axes = plt.subplots(figsize=(7, 2.6))
axes.barh(list(bars)[::-1], [after - before for after in bars.values()][::-1])
axes.set_xlabel("gain in mean IU, points")
figure.tight_layout()
figure.savefig("iterations.png", dpi=120)
