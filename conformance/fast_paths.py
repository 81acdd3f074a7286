"""The embedded Caffe's fast paths and lower precisions against its plain path, on real nets and images.

python -m conformance.fast_paths [--images 40] [--precision bf16 --device cpu] [--nets digits camvid]

Prints a table; the nets' images are in CAFFE_GP_DATA.

For each net: the share of pixels whose label differs before and after the step, the share of the gradient's
signs that differ, the largest difference of a probability, and mean IU both ways. The plain path is float32
without any fast path, on the same device.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np

from caffe_gp.caffe import fast
from caffe_gp.datasets import segmentation
from caffe_gp.engines import PRECISIONS, load_net
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.experiments import suites
from caffe_gp.gp import GuidedPerturbation

# Net, suite and a step that helps it.
NETS = (("digits", "digits", 8.0), ("camvid", "camvid", 0.7), ("mnv2-dm05-257", "voc-small", 0.05))


def _labels(name: str, suite: str, eps: float, images: int, optimize: str, **where: Any) -> dict[str, Any]:
    """Labels, signs and probabilities of every image, and mean IU before and after."""
    os.environ[fast.VARIABLE] = optimize
    net = suites.get(suite).net(name)
    loaded = load_net(net.model.prototxt(), str(net.caffemodel()), **where)
    gp, preprocess = GuidedPerturbation(loaded), net.model.feed
    data = segmentation.get(suites.get(suite).data).available().first(images)
    found: dict[str, Any] = {"base": [], "gp": [], "signs": [], "probability": []}
    base = ConfusionMatrix(len(data.classes))
    after = ConfusionMatrix(len(data.classes))
    for item in data.ids:
        canvas = preprocess.load(data.image(item))
        result = gp(canvas.data[np.newaxis], eps, keep_probabilities=True)
        truth = data.truth(item)
        base.update(truth, preprocess.labels_to_image(result.base_labels[0], canvas))
        after.update(truth, preprocess.labels_to_image(result.labels[0], canvas))
        found["base"].append(result.base_labels)
        found["gp"].append(result.labels)
        found["signs"].append(result.perturbation)
        found["probability"].append(result.base_probabilities)
    return {**found, "iu": (100 * base.mean_iu, 100 * after.mean_iu)}


def _unlike(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    differ = sum(int((a != b).sum()) for a, b in zip(one, other))
    return differ / sum(array.size for array in one)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--nets", nargs="+", default=[name for name, *_ in NETS], help="default: all")
    options = parser.parse_args()
    device, kind = options.device, "fast" if options.precision == "float32" else options.precision
    print(f"| net | images | labels before | labels after | signs | probability | mean IU {kind} | plain |")
    print("|---|---|---|---|---|---|---|---|")
    for name, suite, eps in (row for row in NETS if row[0] in options.nets):
        plain = _labels(name, suite, eps, options.images, "0", device=device)
        quick = _labels(name, suite, eps, options.images, "1", device=device, precision=options.precision)
        shares = [f"{_unlike(plain[what], quick[what]):.1e}" for what in ("base", "gp", "signs")]
        apart = max(float(np.abs(a - b).max()) for a, b in zip(plain["probability"], quick["probability"]))
        ius = [f"{before:.3f} / {after:.3f}" for before, after in (quick["iu"], plain["iu"])]
        cells = [name, str(len(plain["base"])), *shares, f"{apart:.1e}", *ius]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
