"""Nearest-neighbour GP over MNIST's test set with LeNet on the CPU: three ways, in turn, in one run.

    python -m benchmarks.bench_mnist [--images 10000] [--rounds 2] [--out benchmarks/results/gp_mnist.md]

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

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import numpy as np

from caffe_gp.datasets import classification as sets
from caffe_gp.files import atomic

from . import workers
from .folders import RESULTS, SHARED_DATA

WAYS = ("embedded", "bvlc", "bvlc-plain")
LENET = SHARED_DATA / "caffemodels/cifar10_everpeace/examples/mnist"
EPS, K, SCALE, BATCH = 0.03, 3, 1 / 256, 100
FASTER = 5  # what is to be reached, against bvlc-plain
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def run_caffe_gp(engine: str, images: int, clock: Callable[[], float]) -> dict:
    """The project's own evaluation: once with a bank of features only, once more with the gradients kept."""
    from caffe_gp.evaluation.classification import Classification, ClassificationTask, run_task

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
        start = clock()
        bank.features()
        times["bank"] = clock() - start
        for name, key in (("first", "gp"), ("second", "gp_kept")):
            start = clock()
            run = run_task(task(name))
            times[key] = clock() - start
    labels = run.at(run.variants[0], EPS)
    return {**times, "labels": labels.tolist(), "accuracy": float((labels == run.truth).mean())}


def run_plain(images: int, clock: Callable[[], float]) -> dict:
    """pycaffe calls from the paper's text. Distances by one matrix product, as a careful user would."""
    import caffe

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


def measure(way: str, images: int, threads: int, clock: str) -> dict | None:
    """The figures of one process; None where BVLC's file system is missing."""
    bvlc = way.startswith("bvlc")
    if bvlc and not workers.bvlc_is_here():
        return None
    options = ["--way", way, "--images", str(images), "--clock", clock]
    return workers.run_worker(["benchmarks.bench_mnist", *options], bvlc=bvlc, threads=threads)


def table(results: dict[str, dict], images: int, rounds: int, threads: int, clock: str) -> str:
    """Markdown with seconds, ratios and what was to be reached."""
    from caffe_gp.provenance import cpu_name

    command = f"--images {images} --rounds {rounds} --threads {threads} --clock {clock}"
    own = results["embedded"]
    lines = [
        f"# Nearest-neighbour GP over {images} MNIST test images with LeNet, CPU, {threads} thread(s)",
        "",
        f"`python -m benchmarks.bench_mnist {command}`:",
        f"{'processor' if clock == 'cpu' else 'elapsed'} seconds, the fastest of the rounds, which went "
        f"through the ways in turn. {K} neighbours by ip1, eps {EPS:g}.",
        "Bank: the features of 60,000 training images. GP: from test images to labels, search included; in",
        "brackets with the gradients of an earlier run. Peak memory is that of the whole process.",
        "",
        f"{cpu_name()}, {os.cpu_count()} cores; {time.strftime('%Y-%m-%d', time.gmtime())}. "
        f"OPENBLAS_CORETYPE for BVLC Caffe: {workers.core_type() or 'not set'}.",
        "",
        "| way | bank | GP | GP / embedded | accuracy, % | labels unlike embedded | peak GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, found in results.items():
        kept = f" ({found['gp_kept']:.1f})" if "gp_kept" in found else ""
        differ = sum(a != b for a, b in zip(found["labels"], own["labels"]))
        lines.append(
            f"| {way} | {found['bank']:.1f} | {found['gp']:.1f}{kept} | {found['gp'] / own['gp']:.2f} "
            f"| {100 * found['accuracy']:.2f} | {differ} | {found['peak_gb']:.2f} |"
        )
    lines.append("")
    if "bvlc-plain" in results:
        times = results["bvlc-plain"]["gp"] / own["gp"]
        verdict = "reached" if times >= FASTER else "NOT reached"
        lines.append(f"- {verdict}: embedded {times:.1f} times as fast as bvlc-plain (>= {FASTER})")
    else:
        lines.append("- BVLC Caffe: not measured, because `.cache/bvlc` is missing (`make bvlc`)")
    return "\n".join(lines) + "\n"


def work(way: str, images: int, clock: str) -> None:
    """Measure one way and print its figures as a line of JSON."""
    if way == "bvlc-plain":
        found = run_plain(images, CLOCKS[clock])
    else:
        found = run_caffe_gp("torch" if way == "embedded" else "bvlc", images, CLOCKS[clock])
    print(json.dumps({**found, "peak_gb": workers.peak_gb()}))


def main() -> None:
    """Parse the command line; measure, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS / "gp_mnist.md")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        work(args.way, args.images, args.clock)
        return
    if not LENET.is_dir():
        sys.exit("bench_mnist: MNIST and LeNet are not here (CAFFE_GP_SHARED_DATA)")
    results: dict[str, dict] = {}
    for number in range(args.rounds):
        for way in WAYS:
            found = measure(way, args.images, args.threads, args.clock)
            if found is None:
                continue
            figures = {name: value for name, value in found.items() if name != "labels"}
            print(f"round {number + 1}, {way}: {json.dumps(figures)}", flush=True)
            best = results.setdefault(way, found)
            for name in ("bank", "gp", "gp_kept"):
                if name in found:
                    best[name] = min(best[name], found[name])
            best["peak_gb"] = max(best["peak_gb"], found["peak_gb"])
    text = table(results, args.images, args.rounds, args.threads, args.clock)
    atomic.write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
