"""Nearest-neighbour GP over MNIST's test set with LeNet on the CPU: three ways, in turn, in one run.

    python -m benchmarks.bench_mnist [WAY ...] [--images 10000] [--rounds 2]

embedded        caffe_gp on the embedded Caffe: batches of 100, each training image's gradient once
bvlc            the same on BVLC Caffe
bvlc-plain      BVLC Caffe as its users drive it, one test image after the other: feature, distances to the
                bank, three backward passes at the neighbours, the perturbed image's forward pass

Features of the 60,000 training images are computed first, and timed on their own. "GP" is everything from the
test images to their labels, the search of the neighbours included. Each way runs in a process of its own;
rounds go through all of them in turn, and the fastest of each figure is reported. BVLC's ways need the file
system of ``make bvlc``; MNIST and the released LeNet come from CAFFE_GP_SHARED_DATA.
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Callable

import numpy as np

from caffe_gp.datasets import classification as sets

from . import measure, report, workers
from .folders import SHARED_DATA
from .measure import Setting

LENET = SHARED_DATA / "caffemodels/cifar10_everpeace/examples/mnist"
EPS, K, SCALE, BATCH = 0.03, 3, 1 / 256, 100


def run_caffe_gp(engine: str, images: int, setting: Setting) -> dict:
    """The project's own evaluation: once with a bank of features only, once more with the gradients kept."""
    from caffe_gp.evaluation.classification import Classification, ClassificationTask, run_task

    clock = measure.CLOCKS[setting.clock]
    train, test = (sets.get(name, SHARED_DATA) for name in ("mnist-train", "mnist-test"))
    with tempfile.TemporaryDirectory() as folder:

        def task(name: str) -> ClassificationTask:
            return ClassificationTask.of(
                Classification(
                    prototxt=str(LENET / "lenet.prototxt"),
                    caffemodel=str(LENET / "lenet_iter_5000.caffemodel"),
                    engine=engine,
                    scale=SCALE,
                    eps=[EPS],
                    k=(K,),
                    batch_size=BATCH,
                    train=train,
                    test=test.first(images),
                    out=Path(folder) / name,
                    bank=Path(folder) / "bank",
                    quiet=True,
                )
            )

        times, first = {}, task("first")
        bank = first.open(first.device).bank
        times["bank"] = setting.seconds(bank.features)
        for name, key in (("first", "gp"), ("second", "gp_kept")):
            start = clock()
            run = run_task(task(name))
            times[key] = clock() - start
    labels = run.at(run.variants[0], EPS)
    return {**times, "labels": labels.tolist(), "accuracy": float((labels == run.truth).mean())}


def run_plain(images: int, setting: Setting) -> dict:
    """pycaffe calls from the paper's text. Distances by one matrix product, as a careful user would."""
    import caffe

    clock = measure.CLOCKS[setting.clock]
    train, test = (sets.get(name, SHARED_DATA) for name in ("mnist-train", "mnist-test"))
    inputs, inputs_test = (
        one.images.transpose(0, 3, 1, 2).astype(np.float32) * SCALE for one in (train, test.first(images))
    )
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "lenet.prototxt")
        text = (LENET / "lenet.prototxt").read_text()
        Path(path).write_text("force_backward: true\n" + text)
        net = caffe.Net(path, str(LENET / "lenet_iter_5000.caffemodel"), caffe.TEST)
    start = clock()
    net.blobs["data"].reshape(BATCH, 1, 28, 28)
    bank = np.empty((len(inputs), 500), np.float32)
    for first in range(0, len(inputs), BATCH):
        net.blobs["data"].data[...] = inputs[first : first + BATCH]
        net.forward()
        bank[first : first + BATCH] = net.blobs["ip1"].data
    norms = (bank * bank).sum(axis=1)
    times = {"bank": clock() - start}

    start = clock()
    net.blobs["data"].reshape(1, 1, 28, 28)
    labels = []
    for image in inputs_test:
        net.blobs["data"].data[...] = image
        net.forward()
        distances = norms - 2 * bank.dot(net.blobs["ip1"].data[0])
        step = np.zeros_like(image)
        for i in np.argpartition(distances, K)[:K]:
            net.blobs["data"].data[...] = inputs[i]
            net.forward()
            net.blobs["prob"].diff[...] = np.arange(10) == train.labels[i]
            net.backward()
            step += np.sign(net.blobs["data"].diff[0]) / K
        net.blobs["data"].data[...] = image + EPS * step
        net.forward()
        labels.append(int(net.blobs["prob"].data[0].argmax()))
    times["gp"] = clock() - start
    return {**times, "labels": labels, "accuracy": float((np.array(labels) == test.labels[:images]).mean())}


WAYS: dict[str, Callable[..., dict]] = {
    "embedded": partial(run_caffe_gp, "torch"),
    "bvlc": partial(run_caffe_gp, "bvlc"),
    "bvlc-plain": run_plain,
}


def markdown(result: dict) -> str:
    """Seconds, and how they compare."""
    explanation = (
        "seconds, the fastest of the rounds, which went through the ways in turn. "
        f"{K} neighbours by ip1, eps {EPS:g}. Bank: the features of 60,000 training images. GP: from test "
        "images to labels, search included; in brackets with the gradients of an earlier run. Unlike: the "
        "share of labels that are not the first way's. Peak memory is that of the whole process."
    )
    return report.page(
        result, "Nearest-neighbour GP over MNIST's test images with LeNet", explanation, _table
    )


def _table(ways: dict[str, dict[str, float]]) -> list[str]:
    rows = []
    for way, best in ways.items():
        kept = f" ({best['gp_kept']:.1f})" if "gp_kept" in best else ""
        ratio = f"{best['gp'] / ways['embedded']['gp']:.2f}" if "embedded" in ways else "-"
        accuracy = f"{100 * best['accuracy']:.2f}"
        times = [f"{best['bank']:.1f}", f"{best['gp']:.1f}{kept}", ratio]
        rows.append([way, *times, accuracy, f"{best['unlike']:.4f}", f"{best['peak_gb']:.2f}"])
    return report.table(["way", "bank", "GP", "GP / embedded", "accuracy, %", "unlike", "peak GB"], rows)


def main() -> None:
    """Parse the command line; measure, print and write the table."""
    parser = measure.parser(__doc__)
    parser.add_argument("--images", type=int, default=10_000, help="test images (default 10000)")
    options = parser.parse_args()
    if not LENET.is_dir():
        print("skipped: it needs MNIST and LeNet; set CAFFE_GP_SHARED_DATA to the folder of the test data")
        return
    if options.worker:
        found = WAYS[options.worker](images=options.images, setting=options.settings[0])
        print(json.dumps({**found, "peak_gb": workers.peak_gb()}))
        return
    result = report.begin("mnist", options)
    labels: list[int] = []  # the first way's

    def figures(way: str, setting: Setting) -> dict | None:
        found = workers.run_worker("benchmarks.bench_mnist", way, setting, "--images", str(options.images))
        if found:
            own = found.pop("labels")
            if not labels:
                labels.extend(own)
            found["unlike"] = sum(a != b for a, b in zip(own, labels)) / len(labels)
        return found

    result["figures"] = measure.in_turn(WAYS, options, figures)
    result["missing"] = [text for text in map(workers.why_missing, WAYS) if text]
    report.write(result, options.out, markdown)


if __name__ == "__main__":
    main()
