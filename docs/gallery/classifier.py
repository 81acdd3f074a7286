"""A classifier

A classifier has no neighbouring pixels to learn from, so it asks its nearest training images: the test
image moves towards *their* classes (the paper, section 5). LeNet was trained on MNIST; here it reads
scikit-learn's digits, which are another set of 8 x 8 pixels, by other writers: 800 of them are the
neighbours that it asks, 500 others are judged.

For MNIST and CIFAR-10 themselves: `caffe_gp classify --model lenet --train mnist-train --test mnist-test
--out out`.
"""

import cv2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from caffe_gp import load_model
from caffe_gp.gp import NeighbourPerturbation, Neighbours

found = load_digits()
large = [cv2.resize(image, (20, 20), interpolation=cv2.INTER_CUBIC) for image in found.images]
grey = np.pad(np.stack(large), [(0, 0), (4, 4), (4, 4)])
images = np.clip(grey / 16, 0, 1).astype(np.float32)[:, None] * np.float32(255 / 256)  # as LeNet is fed
asked, judged = slice(0, 800), slice(1200, 1700)

lenet = load_model("lenet")
method = NeighbourPerturbation(lenet.net, features=["ip1"])
bank = Neighbours(method.look(images[asked])[1]["ip1"])
directions = method.directions(images[asked], found.target[asked])  # a sign for every pixel

before, features = method.look(images[judged])
rows, _ = bank.nearest(features["ip1"], 3)
moved = directions[rows].sum(axis=1)  # of the three neighbours

truth = found.target[judged]
votes = np.array([np.bincount(found.target[asked][row], minlength=10).argmax() for row in rows])
print(f"before     {100 * (before == truth).mean():.2f} %")
print(f"neighbours {100 * (votes == truth).mean():.2f} %   their vote alone, without the net's own opinion")
after = {}
for eps in (-0.05, 0.02, 0.05, 0.1, 0.15):
    after[eps] = method.after(moved, eps / 3)
    fixed = 100 * ((after[eps] == truth) & (before != truth)).mean()
    broken = 100 * ((after[eps] != truth) & (before == truth)).mean()
    right = 100 * (after[eps] == truth).mean()
    print(f"eps {eps:+.2f}  {right:.2f} %   corrected {fixed:.1f} %, broken {broken:.1f} %")

corrected = np.flatnonzero((after[0.1] == truth) & (before != truth))[:5]
figure, axes = plt.subplots(len(corrected), 4, figsize=(5.2, 7))
for row, i in zip(axes, corrected):
    shown = [(f"{before[i]}, then {after[0.1][i]}", images[judged][i])]
    shown += [(f"neighbour: {found.target[asked][n]}", images[asked][n]) for n in rows[i]]
    for axis, (title, image) in zip(row, shown):
        axis.imshow(image[0], cmap="gray")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
figure.tight_layout()
figure.savefig("classifier.png", dpi=110)
