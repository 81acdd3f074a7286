"""Your own data set

Two folders are a data set: images, and label maps of the same names as PNG files whose values are the
classes. A text file names the classes, a line each. `caffe_gp evaluate` scores a net on it before and
after, resumes where it was stopped, and writes `results.json`; this script makes such folders, runs the
command and reads the result.

255 in a label map is void: such pixels do not count.
"""

import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib.pyplot as plt

from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.evaluation.results import read_run

# Stands for your own folders.
scenes = DigitScenes("test", seed=7)
for folder in ("images", "labels"):
    Path(folder).mkdir(exist_ok=True)
for i in range(30):
    image, labels = scenes.scene(i)
    cv2.imwrite(f"images/{i:03d}.png", image)
    cv2.imwrite(f"labels/{i:03d}.png", labels)
Path("classes.txt").write_text("background\n" + "".join(f"digit {n}\n" for n in range(10)))

command = "evaluate --model digits --data folder:images:labels:classes.txt --eps 2 4 --out run"
print("caffe_gp", command)
subprocess.run([sys.executable, "-m", "caffe_gp", *command.split()], check=True, capture_output=True)

run = read_run("run")
print(f"{len(run.ids)} images; mean IU before {100 * run.measures(run.base)['mean_iu']:.2f} %")
for eps in run.eps:
    gain = run.gain(eps).points()
    print(f"eps {eps:g}: gain {gain['gain']:+.2f} points")
    print(f"       95 % interval {gain['low']:+.2f} .. {gain['high']:+.2f}")

classes = Path("classes.txt").read_text().split("\n")[:11]
iu = run.measures(run.base)["iu"]
figure, axes = plt.subplots(figsize=(7, 3))
axes.bar(classes, [100 * (value or 0) for value in iu])
axes.set_ylabel("IU before, %")
axes.tick_params(axis="x", rotation=45)
figure.tight_layout()
figure.savefig("your_own_data_set.png", dpi=120)
