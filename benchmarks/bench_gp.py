"""Guided perturbations of FCN-32s at 500 x 500 on the CPU: four ways to run them, in turn, in one run.

    python -m benchmarks.bench_gp [--rounds 2] [--size 500] [--out benchmarks/results/gp_fcn32s.md]

embedded        caffe_gp on the embedded Caffe
autograd        the same layers in plain PyTorch with autograd on the input, as one would write it today
bvlc-probe      caffe_gp on BVLC Caffe (the probe: no weight gradients)
bvlc-naive      BVLC Caffe as its users run it: ``force_backward: true``, full backward and second forward

Every worker is a process of its own that measures and exits; rounds go through all workers in turn, so
that a slow minute of the machine hits all of them. Reported: the fastest round of each figure, and peak
memory. BVLC's workers run in the file system that ``make bvlc`` builds; without it their rows are missing,
and said to be.

On a machine that others use too, ``--clock cpu --threads 1`` measures the processor time of one thread, which
waiting for a turn does not lengthen.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Callable

from caffe_gp.files import atomic

from . import fcn32s, workers
from .folders import RESULTS

BLOBS = ("data", "pool2", "pool3", "pool4")
TARGETS = {"data": 3.1, "pool2": 2.6, "pool3": 2.1, "pool4": 1.6}
PAPER = {"data": 0.33 / 0.12, "pool2": 0.27 / 0.12, "pool3": 0.24 / 0.12, "pool4": 0.22 / 0.12}
READERS = {"data": "conv1_1", "pool2": "conv3_1", "pool3": "conv4_1", "pool4": "conv5_1"}
WORKERS = ("embedded", "autograd", "bvlc-probe", "bvlc-naive")
EPS = 0.55


def run_caffe_gp(engine: str, size: int) -> dict:
    """Forward, then GP at each blob, through the project's own interface."""
    from caffe_gp.engines import load_net
    from caffe_gp.gp import GuidedPerturbation

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fcn32s.prototxt")
        Path(path).write_text(fcn32s.prototxt(size))
        loaded = load_net(path, engine=engine)
    net = loaded.net
    fcn32s.fill(net)
    image = fcn32s.image(size)
    methods = {blob: GuidedPerturbation(loaded, blob=blob) for blob in BLOBS}
    net.blobs[loaded.data].data[...] = image
    times = {"forward": _time(net.forward)}
    for blob in BLOBS:
        times[blob] = _time(partial(methods[blob], image, EPS))
    return times


def run_bvlc_naive(size: int) -> dict:
    """pycaffe calls as the authors' demo makes them, with one-hot labels, from the paper's text."""
    import caffe
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fcn32s.prototxt")
        Path(path).write_text(fcn32s.prototxt(size, force_backward=True))
        net = caffe.Net(path, caffe.TEST)
    fcn32s.fill(net)
    image = fcn32s.image(size)
    net.blobs["data"].data[...] = image
    times = {"forward": _time(net.forward)}

    def perturb(blob: str) -> None:
        net.blobs["data"].data[...] = image
        net.forward()
        prob = net.blobs["prob"]
        prob.diff[...] = np.arange(fcn32s.CLASSES)[:, None, None] == prob.data[0].argmax(0)
        net.backward(end=READERS[blob])
        net.blobs[blob].data[...] += EPS * np.sign(net.blobs[blob].diff)
        net.forward(start=READERS[blob])
        net.blobs["prob"].data[0].argmax(0)

    for blob in BLOBS:
        times[blob] = _time(partial(perturb, blob))
    return times


def run_autograd(size: int) -> dict:
    """A torch module with the same weights; only the perturbed blob requires a gradient."""
    import torch
    import torch.nn.functional as F

    import caffe_gp.caffe as caffe
    from caffe_gp import proto

    net = caffe.Net.from_param(
        proto.parse_net_param(fcn32s.prototxt(64)), caffe.TEST
    )  # weights do not depend on size
    fcn32s.fill(net)
    weights = {name: [torch.from_numpy(blob.data) for blob in blobs] for name, blobs in net.params.items()}
    image = torch.from_numpy(fcn32s.image(size))
    stages = ["data", *(f"pool{i}" for i in range(1, 6)), "prob"]

    def piece(start: str, x: torch.Tensor) -> torch.Tensor:
        i = stages.index(start)
        if i < 5:
            for k in range(1, fcn32s.STAGES[i][1] + 1):
                w, b = weights[f"conv{i + 1}_{k}"]
                x = F.relu(F.conv2d(x, w, b, padding=100 if (i, k) == (0, 1) else 1))
            return F.max_pool2d(x, 2, 2, ceil_mode=True)
        for name in ("fc6", "fc7"):
            w, b = weights[name]
            x = F.relu(F.conv2d(x, w, b))
        w, b = weights["score_fr"]
        x = F.conv_transpose2d(F.conv2d(x, w, b), weights["upscore"][0], stride=32)
        return x[:, :, 19 : 19 + size, 19 : 19 + size].softmax(1)

    def run(x: torch.Tensor, start: str, stop: str = "prob") -> torch.Tensor:
        for name in stages[stages.index(start) : stages.index(stop)]:
            x = piece(name, x)
        return x

    def forward() -> None:
        with torch.no_grad():
            run(image, "data").argmax(1)

    def perturb(blob: str) -> None:
        with torch.no_grad():
            x = run(image, "data", blob)
        x.requires_grad_(True)
        y = run(x, blob)
        y.max(1).values.sum().backward()
        assert x.grad is not None
        with torch.no_grad():
            run(x + EPS * x.grad.sign(), blob).argmax(1)

    times = {"forward": _time(forward)}
    for blob in BLOBS:
        times[blob] = _time(partial(perturb, blob))
    return times


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_clock = CLOCKS["wall"]


def _time(function: Callable[[], object]) -> float:
    """Seconds of the faster of two calls, after one that allocates."""
    function()
    seconds = []
    for _ in range(2):
        start = _clock()
        function()
        seconds.append(_clock() - start)
    return min(seconds)


def work(worker: str, size: int, clock: str) -> None:
    """Measure one worker and print its figures as a line of JSON."""
    global _clock
    _clock = CLOCKS[clock]
    times = {
        "embedded": lambda: run_caffe_gp("torch", size),
        "autograd": lambda: run_autograd(size),
        "bvlc-probe": lambda: run_caffe_gp("bvlc", size),
        "bvlc-naive": lambda: run_bvlc_naive(size),
    }[worker]()
    times["peak_gb"] = workers.peak_gb()
    print(json.dumps(times))


def measure(worker: str, size: int, threads: int, clock: str) -> dict | None:
    """The figures of one worker process; None where BVLC's file system is missing."""
    bvlc = worker.startswith("bvlc")
    if bvlc and not workers.bvlc_is_here():
        return None
    options = ["--worker", worker, "--size", str(size), "--clock", clock]
    return workers.run_worker(["benchmarks.bench_gp", *options], bvlc=bvlc, threads=threads)


def table(results: dict, size: int, rounds: int, threads: int, clock: str) -> str:
    """Markdown with seconds, ratios and what was to be reached."""
    from caffe_gp.provenance import cpu_name

    command = f"--rounds {rounds} --size {size} --threads {threads} --clock {clock}"
    lines = [
        f"# Guided perturbations of FCN-32s, {size} x {size}, CPU, {threads} thread(s)",
        "",
        f"`python -m benchmarks.bench_gp {command}`: one image, random weights,",
        f"{'processor' if clock == 'cpu' else 'elapsed'} seconds. Each figure is the fastest of the rounds, "
        "which went through the ways in turn.",
        "In brackets: divided by the same way's own forward pass. Peak memory is that of the whole process.",
        "",
        f"{cpu_name()}, {os.cpu_count()} cores; {time.strftime('%Y-%m-%d', time.gmtime())}. "
        f"OPENBLAS_CORETYPE for BVLC Caffe: {workers.core_type() or 'not set'}.",
        "",
        "| way | forward | " + " | ".join(f"GP at {blob}" for blob in BLOBS) + " | peak GB |",
        "|---|---|" + "---|" * (len(BLOBS) + 1),
    ]
    for worker, best in results.items():
        cells = [f"{best[blob]:.2f} ({best[blob] / best['forward']:.2f})" for blob in BLOBS]
        lines.append(f"| {worker} | {best['forward']:.2f} | {' | '.join(cells)} | {best['peak_gb']:.2f} |")
    ratios = " | ".join(f"{TARGETS[blob]:.1f}" for blob in BLOBS)
    paper = " | ".join(f"{PAPER[blob]:.2f}" for blob in BLOBS)
    lines += [f"| *to reach (ratio)* | | {ratios} | 3 |", f"| *paper, Titan X (ratio)* | | {paper} | |", ""]
    own = results["embedded"]
    for worker in WORKERS[1:]:
        if worker in results:
            lines.append(f"- embedded / {worker}, GP at data: {own['data'] / results[worker]['data']:.2f}")
        else:
            lines.append(f"- {worker}: not measured, because `.cache/bvlc` is missing (`make bvlc`)")
    lines += ["", *_verdicts(results)]
    return "\n".join(lines) + "\n"


def _verdicts(results: dict) -> list[str]:
    own, naive = results["embedded"], results.get("bvlc-naive")
    checks = [(f"GP at {b} / forward <= {TARGETS[b]}", own[b] / own["forward"] <= TARGETS[b]) for b in BLOBS]
    checks.append(("peak memory <= 3 GB", own["peak_gb"] <= 3))
    if naive:
        checks.append(("embedded GP at data <= 0.6 x BVLC naive", own["data"] <= 0.6 * naive["data"]))
    return [f"- {'reached' if good else 'NOT reached'}: {name}" for name, good in checks]


def main() -> None:
    """Parse the command line; measure, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS / "gp_fcn32s.md")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.size, args.clock)
        return
    results: dict = {}
    for number in range(args.rounds):
        for worker in WORKERS:
            found = measure(worker, args.size, args.threads, args.clock)
            if found is None:
                continue
            print(f"round {number + 1}, {worker}: {json.dumps(found)}", flush=True)
            best = results.setdefault(worker, found)
            results[worker] = {
                k: max(best[k], v) if k == "peak_gb" else min(best[k], v) for k, v in found.items()
            }
    text = table(results, args.size, args.rounds, args.threads, args.clock)
    atomic.write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
