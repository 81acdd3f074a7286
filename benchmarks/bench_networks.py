"""The nets that conformance compares, at their real size on the CPU: time, peak memory, and agreement.

    python -m benchmarks.bench_networks [NAME ...] [--out benchmarks/results/networks.md]

Random weights are those of the comparison of the engines (conformance/networks/nets.py); the image is a
VOC photograph where CAFFE_GP_SHARED_DATA has it, else random waves.
Each engine runs in a process of its own that loads the caffemodel, runs the net once to allocate, and then
times guided perturbations of one image at the input (forward, backward, forward again), twice, and for two
seconds at least. Without the file system of ``make bvlc`` BVLC Caffe's columns are empty.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp.files import atomic
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.models import zoo
from conformance import closeness
from conformance.networks import nets

from . import workers
from .folders import RESULTS, ROOT, SHARED_DATA

# Both folders reach the file system of BVLC Caffe; what is written into the second one comes back.
WEIGHTS, OUTPUTS = Path(".cache/bench_networks"), Path(".cache/bvlc-recordings/bench_networks")
ENGINES = ("torch", "bvlc")
PHOTOGRAPH = "2007_000033"
# One guided perturbation of these takes minutes.
ONCE = ("deeplab-resnet101",)


def work(engine: str, name: str) -> dict[str, float]:
    """Seconds of the base forward pass and of GP at ``data``, the fastest of some calls; peak GB.

    Leaves the scores and the label maps before and after in OUTPUTS.
    """
    from caffe_gp.gp import GuidedPerturbation

    workers.limit_memory()
    size = real_size(name)
    loaded = nets.load(name, engine, str(_weights(name)), size)
    image = _image(name, size)
    loaded.net.blobs[loaded.data].data[...] = image
    loaded.net.forward()
    score = loaded.net.blobs[loaded.score].data.copy()
    gp = GuidedPerturbation(loaded)
    best = {"forward": float("inf"), "gp": float("inf")}
    begin, calls, wanted = time.perf_counter(), 0, 1 if name in ONCE and engine == "bvlc" else 3
    while calls < wanted or time.perf_counter() - begin < 2:
        calls += 1
        start = time.perf_counter()
        result = gp(image, nets.EPS * zoo.get(name).feed.scale)
        best["gp"] = min(best["gp"], time.perf_counter() - start)
        best["forward"] = min(best["forward"], result.seconds["forward"])
    peak = workers.peak_gb()
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    np.savez(_result(name, engine), score=score, base=result.base_labels, moved=result.labels)
    return {**best, "peak_gb": peak}


def _image(name: str, size: tuple[int, int, int]) -> np.ndarray:
    """A photograph stretched to ``size``: how long a CRF takes depends on what the image shows."""
    path = SHARED_DATA / "voc2012/VOCdevkit/VOC2012/JPEGImages" / f"{PHOTOGRAPH}.jpg"
    feed = zoo.get(name).feed
    if len(feed.mean) != 3 or not path.is_file():
        return nets.images(name, size)
    stretched = Preprocess(feed.mean, feed.scale, feed.channel_order, 3, resize=(size[2], size[1]))
    return stretched.load(path).data[np.newaxis]


def _weights(name: str) -> Path:
    return WEIGHTS / f"{name}.caffemodel"


def _result(name: str, engine: str) -> Path:
    return OUTPUTS / f"{name}-{engine}.npz"


def real_size(name: str) -> tuple[int, int, int]:
    """(1, H, W) of the net's own prototxt."""
    (layer,) = (layer for layer in zoo.get(name).net().layer if layer.type == "Input")
    return 1, layer.input_param.shape[0].dim[2], layer.input_param.shape[0].dim[3]


def measure(name: str, threads: int) -> dict[str, dict]:
    """The figures of one net by engine, and 'apart', how far they are apart; leaves no files.

    An engine whose process needed too much memory is left out.
    """
    engines = ENGINES if workers.bvlc_is_here() else ENGINES[:1]
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    try:
        nets.write_weights(name, str(_weights(name)), "torch")
        found: dict[str, dict] = {}
        for engine in engines:
            command = ["benchmarks.bench_networks", "--worker", engine, name]
            try:
                found[engine] = workers.run_worker(command, bvlc=engine == "bvlc", threads=threads)
            except workers.OutOfMemory as error:
                print(error, file=sys.stderr)
        if len(found) == 2:
            with np.load(str(_result(name, "torch"))) as ours, np.load(str(_result(name, "bvlc"))) as theirs:
                found["apart"] = _apart(ours, theirs)
        return found
    finally:
        for path in (_weights(name), *(_result(name, engine) for engine in engines)):
            if path.exists():
                path.unlink()


def _apart(ours: Any, theirs: Any) -> dict[str, float]:
    return {
        "scores": closeness.relative_error(ours["score"], theirs["score"]),
        **{key: closeness.differing(ours[key], theirs[key]) for key in ("base", "moved")},
    }


def table(results: dict[str, dict[str, dict]], threads: int) -> str:
    """Markdown."""
    from caffe_gp.provenance import cpu_name

    lines = [
        f"# The nets at their real size, CPU, {threads} thread(s)",
        "",
        "`python -m benchmarks.bench_networks`: elapsed seconds for one photograph, random weights, the",
        f"fastest of three calls or more after one forward pass ({', '.join(ONCE)} on BVLC Caffe: of one).",
        "GP is the whole guided perturbation at the input. Peak memory: the process's, weights included.",
        "Scores: max|a - b| / max|b| between the engines; labels: how many differ before / after the step,",
        "each engine over its own activations (docs/networks.md says why that matters).",
        "",
        f"{cpu_name()}, {os.cpu_count()} cores; {time.strftime('%Y-%m-%d', time.gmtime())}. "
        f"OPENBLAS_CORETYPE for BVLC Caffe: {workers.core_type() or 'not set'}.",
        "",
        "| net | input | embedded: forward | GP | GB | BVLC: forward | GP | GB | ratio | scores | labels |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    engines = ENGINES if workers.bvlc_is_here() else ENGINES[:1]
    for name, figures in results.items():
        cells = [f"`{name}`", "x".join(map(str, real_size(name)[1:]))]
        for engine in ENGINES:
            found = figures.get(engine)
            keys = ("forward", "gp", "peak_gb")
            missing = ["-", "-", f"> {workers.memory_limit_gb()}" if engine in engines else "-"]
            cells += [f"{found[key]:.3g}" for key in keys] if found else missing
        if "apart" in figures:
            apart = figures["apart"]
            cells.append(f"{figures['torch']['gp'] / figures['bvlc']['gp']:.2f}")
            cells += [f"{apart['scores']:.1e}", f"{apart['base']} / {apart['moved']}"]
        else:
            cells += ["-"] * 3
        lines.append(f"| {' | '.join(cells)} |")
    if not workers.bvlc_is_here():
        lines += ["", "BVLC Caffe was not measured: `.cache/bvlc` is missing (`make bvlc`)."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line; measure, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="nets (default: all that conformance compares)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=RESULTS / "networks.md")
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.chdir(ROOT)
    if args.worker:
        print(json.dumps(work(args.worker, *args.names)))
        return
    results = {}
    for name in args.names or nets.SIZES:
        results[name] = measure(name, args.threads)
        print(f"{name}: {json.dumps(results[name])}", flush=True)
    text = table(results, args.threads)
    atomic.write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
