"""Which blob

The step can be taken at the image or at any inner blob. An inner blob costs less, because the layers before
it run once only, and its eps is in units of that blob: a share of its standard deviation is a good way to
say it.

Here every pooling layer of the digits net is tried at the same share, 10 % of the standard deviation. The
cost is counted, not timed: the share of the net's layers that run again in the second forward.
"""

import matplotlib.pyplot as plt

from caffe_gp import GuidedPerturbation, load_model
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.evaluation.confusion import ConfusionMatrix

digits = load_model("digits")
images, truth = DigitScenes("val").batch(range(60))
inputs = digits.preprocess.batch(images[..., ::-1])
net = digits.net.net  # the caffe.Net itself


def mean_iu(labels):
    return 100 * ConfusionMatrix(11).update(truth, labels).mean_iu


names, gains = ["data", "pool1", "pool2", "pool3", "pool4"], []
print(f"{'blob':<8}{'eps':>8}{'layers again':>14}{'before':>9}{'after':>9}{'gain':>7}")
for blob in names:
    perturb = GuidedPerturbation(digits.net, blob=blob)
    deviation = perturb(inputs, eps=0.0, keep_blob=True).base_blob.std()
    result = perturb(inputs, eps=0.1 * deviation)
    layers = list(net._layer_names)
    first = next(i for i, name in enumerate(layers) if blob in net.bottom_names[name])
    before, after = mean_iu(result.base_labels), mean_iu(result.labels)
    gains.append(after - before)
    again = f"{len(layers) - first} of {len(layers)}"
    print(f"{blob:<8}{0.1 * deviation:8.3f}{again:>14}{before:9.2f}{after:9.2f}{gains[-1]:+7.2f}")

figure, axes = plt.subplots(figsize=(6, 3))
axes.bar(names, gains)
axes.set_ylabel("gain in mean IU, points")
axes.set_title("a step of 10 % of the blob's standard deviation")
figure.tight_layout()
figure.savefig("which_blob.png", dpi=120)
