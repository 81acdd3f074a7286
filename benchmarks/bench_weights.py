"""Loading a caffemodel the size of FCN-32s: time and peak memory, against protobuf's own parser.

    python -m benchmarks.bench_weights [--megabytes 545] [--repeat 3]

Writes a caffemodel of that size to a temporary folder, then loads it in fresh processes, one a
measurement, from the page cache: ``read_weights`` plus ``copy_to`` into preallocated float32 arrays (their
pages already touched, as a net's are), and the same through google.protobuf's ``ParseFromString``.
Peak memory is the process's VmHWM minus what it held before (interpreter, numpy, protobuf), so it
counts the destination arrays; required: <= 2 s and <= 1.5 times the file.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Dict, List

import numpy as np

from caffe_gp import proto
from caffe_gp.files import atomic
from caffe_gp.proto import messages as pb

from . import workers
from .folders import RESULTS

Arrays = Dict[str, List[np.ndarray]]  # of a net: layer name -> its parameters
# VGG-16 as FCN-32s: (layer, output channels, input channels, kernel)
LAYERS = [
    ("conv1_1", 64, 3, 3),
    ("conv1_2", 64, 64, 3),
    ("conv2_1", 128, 64, 3),
    ("conv2_2", 128, 128, 3),
    ("conv3_1", 256, 128, 3),
    ("conv3_2", 256, 256, 3),
    ("conv3_3", 256, 256, 3),
    ("conv4_1", 512, 256, 3),
    ("conv4_2", 512, 512, 3),
    ("conv4_3", 512, 512, 3),
    ("conv5_1", 512, 512, 3),
    ("conv5_2", 512, 512, 3),
    ("conv5_3", 512, 512, 3),
    ("fc6", 4096, 512, 7),
    ("fc7", 4096, 4096, 1),
    ("score_fr", 21, 4096, 1),
    ("upscore", 21, 21, 64),
]


def shapes(megabytes: float) -> list[tuple[str, list[tuple[int, ...]]]]:
    """[(layer name, blob shapes)] of FCN-32s, fc6's inputs scaled so that the file has about that size."""
    result: list[tuple[str, list[tuple[int, ...]]]] = []
    fixed = sum(o * i * k * k + o for name, o, i, k in LAYERS if name != "fc6")
    fc6_inputs = max(1, int((megabytes * 1e6 / 4 - fixed) / (4096 * 49)))
    for name, outputs, inputs, kernel in LAYERS:
        inputs = fc6_inputs if name == "fc6" else inputs
        result.append((name, [(outputs, inputs, kernel, kernel), (outputs,)]))
    return result


def write_model(path: str, megabytes: float) -> None:
    """A caffemodel with random values."""
    rng = np.random.RandomState(0)
    net = pb.NetParameter(name="bench")
    arrays = {}
    for name, blob_shapes in shapes(megabytes):
        net.layer.add(name=name, type="Convolution")
        arrays[name] = [rng.standard_normal(size=shape).astype(np.float32) for shape in blob_shapes]
    proto.write_caffemodel(path, net, arrays)


def destination(megabytes: float) -> Arrays:
    """Arrays for the weights, every page touched."""
    return {
        name: [np.full(shape, 1, np.float32) for shape in blob_shapes]
        for name, blob_shapes in shapes(megabytes)
    }


def load_ours(path: str, arrays: Arrays) -> None:
    """Scan and copy."""
    with proto.read_weights(path) as weights:
        for name, blobs in weights:
            for blob, array in zip(blobs, arrays[name]):
                assert blob is not None
                blob.copy_to(array)


def load_protobuf(path: str, arrays: Arrays) -> None:
    """Parse the whole message, then copy; the peer."""
    net = pb.NetParameter()
    with open(path, "rb") as stream:
        net.ParseFromString(stream.read())
    for layer in net.layer:
        for blob, array in zip(layer.blobs, arrays[layer.name]):
            array[...] = np.array(blob.data, dtype=np.float32).reshape(array.shape)


def measure(how: str, path: str, megabytes: float) -> None:
    """In a process of its own: load once and print seconds, peak bytes and a checksum as JSON."""
    before = workers.memory_bytes("VmRSS")
    arrays = destination(megabytes)
    start = time.perf_counter()
    {"caffe_gp": load_ours, "protobuf": load_protobuf}[how](path, arrays)
    seconds = time.perf_counter() - start
    peak = workers.memory_bytes("VmHWM") - before
    total = float(sum(array.sum(dtype=np.float64) for blobs in arrays.values() for array in blobs))
    print(json.dumps({"seconds": seconds, "peak": peak, "sum": total}))


def main() -> None:
    """Write the model, measure both readers, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=545, help="file size (default %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each reader; the best counts")
    parser.add_argument("--out", type=Path, default=RESULTS / "weights.md", help="Markdown table to write")
    parser.add_argument("--measure", nargs=2, metavar=("HOW", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], options.measure[1], options.megabytes)
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bench.caffemodel")
        start = time.perf_counter()
        write_model(path, options.megabytes)
        size = os.path.getsize(path)
        print(f"caffemodel of {size / 1e6:.0f} MB (made and written in {time.perf_counter() - start:.1f} s)")
        for how in ("caffe_gp", "protobuf"):
            runs = []
            for _ in range(options.repeat if how == "caffe_gp" else 1):
                measuring = ["--measure", how, path, "--megabytes", str(options.megabytes)]
                command = ["benchmarks.bench_weights", *measuring]
                runs.append(workers.run_worker(command, bvlc=False, threads=os.cpu_count() or 1))
            best = min(runs, key=lambda run: run["seconds"])
            results[how] = dict(best, file_bytes=size, peak_over_file=best["peak"] / size)
            print(
                f"{how:10s} {best['seconds']:7.2f} s   peak {best['peak'] / 1e6:6.0f} MB = "
                f"{best['peak'] / size:.2f} x the file"
            )
    if results["caffe_gp"]["sum"] != results["protobuf"]["sum"]:
        raise SystemExit("the two readers disagree")
    atomic.write_text(options.out, table(results, options))


def table(results: dict, options: argparse.Namespace) -> str:
    """Markdown with both readers, their ratio, and what was to be reached."""
    ours, theirs = results["caffe_gp"], results["protobuf"]
    lines = [
        "# Reading a caffemodel from the page cache into float32 arrays",
        "",
        f"`python -m benchmarks.bench_weights`: a file of {ours['file_bytes'] / 1e6:.0f} MB; each reader in",
        f"a process of its own, which also holds the arrays it fills; the fastest of {options.repeat} runs",
        "of caffe_gp, one of protobuf.",
        "",
        "| reader | seconds | peak memory, MB | peak / file |",
        "|---|---:|---:|---:|",
    ]
    for name, row in results.items():
        peak = f"{row['peak'] / 1e6:.0f} | {row['peak_over_file']:.2f}"
        lines.append(f"| {name} | {row['seconds']:.2f} | {peak} |")
    lines += ["", f"- protobuf / caffe_gp: {theirs['seconds'] / ours['seconds']:.0f} times the time"]
    limits = {"<= 2 s": ours["seconds"] <= 2, "peak <= 1.5 x the file": ours["peak_over_file"] <= 1.5}
    for name, good in limits.items():
        lines.append(f"- {'reached' if good else 'NOT reached'}: {name}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
