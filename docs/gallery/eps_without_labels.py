"""eps without labels

The best step differs a hundredfold between nets. With no labels at hand, take the one that closes a quarter
of the net's confidence gap: the distance of its mean confidence from 1. That is what `caffe_gp run --eps
auto` does, and what this script shows. The labels are only looked at afterwards, to see what the choice was
worth.
"""

import matplotlib.pyplot as plt

from caffe_gp import GuidedPerturbation, load_model
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.evaluation.choose_eps import find_eps
from caffe_gp.evaluation.confusion import ConfusionMatrix

digits = load_model("digits")
images, truth = DigitScenes("test").batch(range(40))
inputs = digits.preprocess.batch(images[..., ::-1])
perturb = GuidedPerturbation(digits.net)


def confidence(steps):
    """The mean confidence before, and after each step: one backward pass for all of them."""
    result = perturb(inputs[:20], list(steps))
    return float(result.base_confidence.mean()), [float(each.mean()) for each in result.confidence]


def mean_iu(labels):
    return 100 * ConfusionMatrix(11).update(truth, labels).mean_iu


choice = find_eps(confidence, unit=1.0)
print(
    f"chosen on 20 images without labels: eps {choice.eps:.2f}, which closes {choice.closed:.2f} of the gap"
)

result = perturb(inputs, [choice.eps, digits.eps])
print(f"mean IU before             {mean_iu(result.base_labels):.2f} %")
print(f"after, eps without labels  {mean_iu(result.labels[0]):.2f} %")
print(f"after, eps {digits.eps:g} (by labels)  {mean_iu(result.labels[1]):.2f} %")

figure, axes = plt.subplots(figsize=(6, 3))
axes.plot([eps for eps, _, _ in choice.curve], [closed for _, _, closed in choice.curve], "o-")
axes.axhline(choice.share, color="grey", linewidth=1)
axes.plot([choice.eps], [choice.closed], "o", markersize=12, fillstyle="none")
axes.set_xscale("log")
axes.set_xlabel("eps, grey levels")
axes.set_ylabel("share of the gap closed")
figure.tight_layout()
figure.savefig("eps_without_labels.png", dpi=120)
