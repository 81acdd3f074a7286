"""Compare with BVLC Caffe

The embedded Caffe is only worth something if it computes what Caffe computes. In the checkout lie label
maps that BVLC Caffe 1.0 gave for three scenes, before and after guided perturbations of three blobs; here
the embedded one labels the same scenes.

To run any script on the real one, `make bvlc` installs it beside (three minutes; root, Debian or Ubuntu),
then `tools/in_bvlc.sh python3 script.py`; the same script runs on the embedded one with `python -m
caffe_gp.caffe script.py`. [Faithfulness](../faithfulness.md) has the comparison of every layer.
"""

import matplotlib.pyplot as plt
import numpy as np

from caffe_gp import GuidedPerturbation, load_model
from caffe_gp.datasets.digit_scenes import PALETTE
from conformance.record_digits import EPS, GOLDEN

with np.load(str(GOLDEN)) as file:
    recorded = {name: file[name] for name in file.files}
images = recorded["images"]

digits = load_model("digits")
inputs = digits.preprocess.batch(images[..., ::-1])
colours, shown = np.array(PALETTE, np.uint8), {"scene": images[0][..., ::-1]}
print(f"{'labels':<12}{'pixels':>8}{'moved by the step':>19}{'differ from BVLC Caffe':>24}")
for blob, eps in EPS.items():
    result = GuidedPerturbation(digits.net, blob=blob)(inputs, eps)
    maps = {"base": result.base_labels, f"gp_{blob}": result.labels}
    for name, labels in maps.items():
        if name == "base" and blob != "data":
            continue
        theirs = recorded[name]
        moved, differ = 100 * (labels != result.base_labels).mean(), 100 * (labels != theirs).mean()
        print(f"{name:<12}{labels.size:>8}{moved:>17.1f} %{differ:>22.2f} %")
        shown[f"{name}, embedded"], shown[f"{name}, BVLC"] = colours[labels[0]], colours[theirs[0]]

figure, axes = plt.subplots(1, 5, figsize=(10, 2.3))
for axis, (title, picture) in zip(axes, shown.items()):
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(title, fontsize=9)
    axis.axis("off")
figure.tight_layout()
figure.savefig("compare_with_bvlc_caffe.png", dpi=110)
